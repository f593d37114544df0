"""When a request is sent again, and when a pod is made: with places that answer as a test wants."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from jupyter_offload.api.problems import ProblemCode, Unavailable
from jupyter_offload.doorway import keeping
from jupyter_offload.doorway.keeping import Keeping, NotYet


class Wire:
    """Answers with what is next."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.address = ("127.0.0.1", 1)

    async def send(self, method: str, target: str, headers: Any, body: bytes) -> httpx.Response:
        self.asked.append(method)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    async def close(self) -> None: ...


class Place:
    name = "pod"

    def __init__(self, wire: Wire, clusters: int = 0) -> None:
        self.wire = wire
        self.health = SimpleNamespace(clusters_active=clusters)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What attempts lead to, in their order: a place, an error, or an event that is waited for before."""
    outcomes: list[Any] = []

    class Attempt:
        stage, hint = "a node fetches its image", None

        async def place(self) -> Any:
            outcome = outcomes.pop(0)
            if isinstance(outcome, asyncio.Event):
                await outcome.wait()
                outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    monkeypatch.setattr(keeping, "Attempt", Attempt)
    monkeypatch.setattr(keeping, "PATIENCE_S", 0.05)
    return outcomes


async def test_what_was_not_sent_is_sent_to_the_next_place(attempts: list[Any]) -> None:
    first, second = Wire(httpx.ConnectError("refused")), Wire(202)
    attempts += [Place(first), Place(second)]
    answer = await Keeping().send("POST", "/clusters", {}, b"{}")
    assert (answer.status_code, first.asked, second.asked) == (202, ["POST"], ["POST"])


async def test_what_may_have_arrived_is_sent_again_only_if_it_changes_nothing(attempts: list[Any]) -> None:
    wire = Wire(httpx.ReadError("reset"), 200, httpx.ReadError("reset"))
    attempts += [Place(wire)]
    kept = Keeping()
    assert (await kept.send("GET", "/clusters", {}, b"")).status_code == 200
    with pytest.raises(Unavailable):
        await kept.send("POST", "/clusters", {}, b"{}")
    assert wire.asked == ["GET", "GET", "POST"]


async def test_who_only_watches_makes_no_pod(attempts: list[Any]) -> None:
    rested: list[str] = []
    kept = Keeping(lambda: rested.append("now"))
    with pytest.raises(Unavailable):
        await kept.send("GET", "/changes", {}, b"", watching=True)
    assert rested == []
    attempts += [Place(Wire(200, httpx.ConnectError("refused")))]
    await kept.send("GET", "/clusters", {}, b"")
    with pytest.raises(Unavailable):
        await kept.send("GET", "/changes", {}, b"", watching=True)
    assert kept.present is None
    assert rested == ["now"]
    with pytest.raises(Unavailable):
        await kept.send("GET", "/changes", {}, b"", watching=True)


async def test_clusters_that_are_left_alone_get_another_keeper(attempts: list[Any]) -> None:
    rested: list[str] = []
    kept = Keeping(lambda: rested.append("now"))
    attempts += [Place(Wire(200, httpx.ConnectTimeout("gone")), clusters=1), Place(Wire(200), clusters=1)]
    await kept.send("GET", "/clusters", {}, b"")
    with pytest.raises(Unavailable):
        await kept.send("GET", "/changes", {}, b"", watching=True)
    await asyncio.sleep(0)
    assert (await kept.send("GET", "/clusters", {}, b"")).status_code == 200
    assert (rested, attempts) == ([], [])


async def test_all_who_wait_wait_for_one_attempt_and_are_told_how_far_it_is(attempts: list[Any]) -> None:
    ready = asyncio.Event()
    attempts += [ready, Place(Wire(*[200] * 5))]
    kept = Keeping()
    told = await asyncio.gather(*(kept.send("GET", "/", {}, b"") for _ in range(5)), return_exceptions=True)
    assert {type(t) for t in told} == {NotYet}
    assert "a node fetches its image" in str(told[0])
    ready.set()
    answers = await asyncio.gather(*(kept.send("GET", "/", {}, b"") for _ in range(5)))
    assert {a.status_code for a in answers} == {200}
    assert attempts == []


async def test_a_failure_is_told_and_the_next_request_tries_again(attempts: list[Any]) -> None:
    attempts += [Unavailable(ProblemCode.quota_exceeded, "Too much."), Place(Wire(200))]
    kept = Keeping()
    with pytest.raises(Unavailable) as caught:
        await kept.send("GET", "/", {}, b"")
    assert caught.value.code is ProblemCode.quota_exceeded
    assert not isinstance(caught.value, NotYet)
    assert (await kept.send("GET", "/", {}, b"")).status_code == 200


async def test_a_mistake_of_ours_is_told_as_one(attempts: list[Any]) -> None:
    attempts += [KeyError("metadata")]
    with pytest.raises(Unavailable) as caught:
        await Keeping().send("GET", "/", {}, b"")
    assert caught.value.code is ProblemCode.internal
