"""A ticket opens one dashboard for one user, for five minutes from the last time it was asked for."""

from __future__ import annotations

from jupyter_offload.server.tickets import LIFE_S, TicketBook


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def book() -> tuple[TicketBook, Clock]:
    clock = Clock()
    return TicketBook(clock), clock


def test_it_lapses() -> None:
    tickets, clock = book()
    name = tickets.issue("ada", "c1")
    ticket = tickets.find(name)
    assert ticket is not None
    assert (ticket.user, ticket.cluster_id) == ("ada", "c1")
    clock.now += LIFE_S - 1
    assert tickets.find(name) is ticket
    clock.now += 1
    assert tickets.find(name) is None
    assert tickets.left_s(ticket) <= 0


def test_asking_again_in_time_renews_the_same_name_and_later_makes_another() -> None:
    tickets, clock = book()
    name = tickets.issue("ada", "c1")
    clock.now += LIFE_S - 1
    assert tickets.issue("ada", "c1") == name
    clock.now += LIFE_S - 1
    assert tickets.find(name) is not None
    clock.now += 1
    assert tickets.issue("ada", "c1") != name
    assert tickets.find(name) is None


def test_each_user_and_each_cluster_has_its_own() -> None:
    tickets, _ = book()
    names = {tickets.issue(user, cluster) for user in ("ada", "bob") for cluster in ("c1", "c2")}
    assert len(names) == 4


def test_withdrawing_ends_all_tickets_of_a_cluster_and_no_other() -> None:
    tickets, _ = book()
    mine, yours, other = tickets.issue("ada", "c1"), tickets.issue("bob", "c1"), tickets.issue("ada", "c2")
    held = tickets.find(mine)
    assert held is not None
    tickets.withdraw("c1")
    assert tickets.find(mine) is None
    assert tickets.find(yours) is None
    assert tickets.left_s(held) <= 0, "an open connection would not notice"
    assert tickets.find(other) is not None


def test_a_guess_opens_nothing() -> None:
    tickets, _ = book()
    name = tickets.issue("ada", "c1")
    for guess in ("", "x", name[:-1], name + "A", name.swapcase()):
        assert tickets.find(guess) is None


def test_lapsed_tickets_are_forgotten() -> None:
    tickets, clock = book()
    for number in range(50):
        tickets.issue("ada", f"c{number}")
    clock.now += LIFE_S
    tickets.issue("ada", "new")
    assert len(tickets._tickets) == len(tickets._names) == 1
