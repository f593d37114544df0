"""Waiting survives a keeper that is away for a moment. The faults are made by a stand-in client, since a real keeper cannot
be made to fail between two given requests."""

import asyncio

import pytest

from jupyter_offload.api import following, text
from jupyter_offload.api.models import Changes, Cluster
from jupyter_offload.api.problems import NotNow, Unavailable


def record(phase="starting", connected=0, requested=2, **values):
    then = "2026-01-02T03:04:05Z"
    return Cluster.model_validate(
        {"id": "abc123", "name": "z", "spec": {"name": "z"}, "site_title": "Here", "owner": "me", "host": "here",
         "profile": {"name": "small", "cores": 1, "memory_bytes": "2 GiB"}, "desired": "running", "phase": phase,
         "phase_since": then, "reason": {"code": "scheduler-died", "message": "It was killed."}, "created_at": then,
         "revision": 7, "workers": {"requested": requested, "connected": connected}} | values
    )  # fmt: skip


class Scripted:
    """Answers ``getCluster`` from a list (the last one for ever); an exception in it is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.since = []

    async def call(self, operation, response, **arguments):
        if operation == "changes":
            self.since.append(arguments["since"])
            await asyncio.sleep(0.01)
            return Changes(revision=arguments["since"] + 1)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def away():
    return Unavailable("keeper-unreachable", "The keeper does not answer.")


async def test_a_keeper_that_comes_back_is_waited_for():
    client = Scripted(record(), away(), away(), record("running", 1, connectable=True))
    cluster = await following.wait_until(client, "z", following.usable, timeout_s=30)
    assert cluster.workers.connected == 1
    assert client.since[0] == 7 and client.since[1] == 8


async def test_a_keeper_that_stays_away_is_an_error(monkeypatch):
    monkeypatch.setattr(following, "PATIENCE_S", 0.1)
    with pytest.raises(Unavailable, match="does not answer"):
        await following.wait_until(Scripted(record(), away()), "z", following.usable, timeout_s=30)


async def test_a_cluster_that_fails_meanwhile_says_why():
    client = Scripted(record(), record("failed"))
    with pytest.raises(NotNow, match=r"Cluster 'z' has failed: It was killed\."):
        await following.wait_until(client, "z", following.usable, timeout_s=30)


async def test_timeout_says_how_far_it_was():
    with pytest.raises(Unavailable, match="starting") as caught:
        await following.wait_until(Scripted(record()), "z", following.usable, timeout_s=0.05)
    assert caught.value.code == "timeout"


async def test_the_end_may_be_what_is_waited_for():
    assert (await following.wait_until(Scripted(record("stopped")), "z", text.is_final, timeout_s=1)).phase == "stopped"


@pytest.mark.parametrize(
    ("cluster", "usable"),
    [
        (record(connectable=True), False),
        (record(connectable=True, connected=1), True),
        (record("running", connectable=True, requested=0), True),
        (record("running", connected=2), False),
        (record("stopping", connectable=True, connected=2), False),
    ],
)
def test_usable_means_a_client_and_a_worker(cluster, usable):
    assert following.usable(cluster) is usable
