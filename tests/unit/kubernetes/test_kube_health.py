"""Health in words: what was heard and when, what to do; what is not heard is never called gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from node_objects import BEAT_AT, of_0_4_0, of_0_6_2, of_2025_07, ordinary

from jupyter_offload.api.models import HealthState, ReasonCode
from jupyter_offload.api.problems import Forbidden, OffloadError, ProblemCode, Unavailable
from jupyter_offload.backends.kubernetes.health import Sight, ago, health_of, problem_of
from jupyter_offload.backends.kubernetes.nodes import Heard, NodeView
from jupyter_offload.backends.kubernetes.options import KubernetesOptions

NOW = BEAT_AT + 240
VIRTUAL = KubernetesOptions(node="vk-a")
ORDINARY = KubernetesOptions(node_selector={"pool": "dask"})
HEARD = Heard(BEAT_AT, BEAT_AT)
DENIED = Forbidden(ProblemCode.access_denied, "The account 'ann' may not get nodes.", hint="kubectl create clusterrole")
AWAY = Unavailable(
    ProblemCode.site_unreachable, "The API server https://k did not answer within 10 s.", hint="Look again."
)


def sight(*nodes: dict[str, Any], heard: Heard = HEARD, error: OffloadError | None = None) -> Sight:
    return Sight([NodeView.of(n, NOW, heard) for n in nodes], error, heard)


def test_well() -> None:
    found = health_of(sight(of_2025_07()), VIRTUAL, NOW)
    assert (found.state, found.message, found.hint) == (HealthState.healthy, "Last heard 4 min ago.", None)
    assert found.last_heard_at == datetime.fromtimestamp(BEAT_AT, UTC)
    assert found.checked_at == datetime.fromtimestamp(NOW, UTC)
    assert problem_of(sight(of_2025_07()), VIRTUAL, NOW) is None


@pytest.mark.parametrize(
    ("seen", "state", "says", "code"),
    [
        (sight(of_2025_07(ready="False", link=("False", "code 500: slurmctld is down"))), "unhealthy",
         ["slurmctld is down", "last heard 4 min ago"], "node-not-ready"),
        (sight(of_0_4_0(ready="False")), "unhealthy", ["not ready; last heard 4 min ago"], "node-not-ready"),
        (sight(of_2025_07(ready="Unknown")), "unknown", ["no longer reports", "last heard 4 min ago"], "node-not-ready"),
        (sight(of_2025_07(), heard=Heard(NOW - 900, NOW - 900)), "unknown", ["heartbeat stopped", "15 min ago"], "node-not-ready"),
        (sight(), "unhealthy", ["no node 'vk-a' now", "last heard 4 min ago"], "node-not-ready"),
        (sight(heard=Heard()), "unhealthy", ["no node 'vk-a' now", "not heard of so far"], "node-not-ready"),
        (sight(of_0_6_2(allocatable={"cpu": "0"})), "unhealthy", ["no cores", "no worker fits"], "no-capacity"),
        (sight(error=AWAY), "unknown", ["did not answer within 10 s", "last heard 4 min ago"], "cannot-see"),
        (sight(error=DENIED), "unknown", ["cannot be seen", "may not get nodes"], None),
    ],
)  # fmt: skip
def test_not_well(seen: Sight, state: str, says: list[str], code: str | None) -> None:
    found = health_of(seen, VIRTUAL, NOW)
    assert found.state == state
    assert found.hint
    for part in says:
        assert part in found.message
    assert "gone" not in found.message.lower()
    problem = problem_of(seen, VIRTUAL, NOW)
    assert (problem and problem.code) == (ReasonCode(code) if code else None)


def test_cordoned() -> None:
    node = of_2025_07()
    node["spec"]["unschedulable"] = True
    found = health_of(sight(node), VIRTUAL, NOW)
    assert found.state is HealthState.unhealthy
    assert "kubectl uncordon vk-a" in str(found.hint)


def test_a_site_that_says_it_has_nothing_while_its_node_takes_pods() -> None:
    ping = json.dumps({"resources": {"cpu": "0", "memory": "0Mi"}})
    found = health_of(sight(of_2025_07(ping=ping)), VIRTUAL, NOW)
    assert found.state is HealthState.healthy
    assert "no cores and no memory" in found.message


def test_ordinary_nodes() -> None:
    assert health_of(sight(ordinary()), ORDINARY, NOW).state is HealthState.healthy
    some = health_of(sight(ordinary(), ordinary("b", ready="False")), ORDINARY, NOW)
    assert (some.state, some.message) == (HealthState.healthy, "1 of 2 nodes take work.")
    none = health_of(sight(ordinary(ready="Unknown")), ORDINARY, NOW)
    assert (none.state, none.message) == (
        HealthState.unhealthy,
        "None of 1 nodes with the labels pool=dask takes work now.",
    )
    nobody = health_of(sight(), ORDINARY, NOW)
    assert nobody.message == "No node has the labels pool=dask."
    assert "node_selector" in str(nobody.hint)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s ago"),
        (12, "12 s ago"),
        (89, "89 s ago"),
        (240, "4 min ago"),
        (7200, "2 h ago"),
        (5 * 86400, "5 days ago"),
    ],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text
