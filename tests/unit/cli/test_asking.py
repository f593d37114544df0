"""From what people write to what crosses the socket."""

import pytest

from jupyter_offload.api import asking
from jupyter_offload.api.models import Cluster, ClusterSpec
from jupyter_offload.api.problems import BadInput


def record(**spec):
    then = "2026-01-02T03:04:05Z"
    return Cluster.model_validate(
        {"id": "abc123", "name": "z", "spec": {"name": "z"} | spec, "site_title": "Here", "owner": "me", "host": "here",
         "profile": {"name": "small", "cores": 1, "memory_bytes": "2 GiB", "lifetime_s": 3600}, "desired": "running",
         "phase": "running", "phase_since": then, "reason": {"code": "all-workers", "message": "Yes."},
         "created_at": then, "revision": 7, "workers": {"requested": 2}}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "field", "says", "hint"),
    [
        ({"memory_bytes": "banana"}, "memory", "'banana' is not an amount of memory", "4 GiB"),
        ({"idle_timeout_s": "soon"}, "idle_timeout", "'soon' is not a duration", "30 min"),
        ({"lifetime_s": -1}, "lifetime", "-1 is not allowed", None),
        ({"workers": 10**6}, "workers", "1000000 is not allowed", None),
        ({"workers": -1}, "workers", "-1 is not allowed", None),
        ({"workers": "many"}, "workers", "'many' is not allowed", None),
        ({"name": "no spaces"}, "name", "'no spaces' is not allowed", "Use letters, digits"),
        ({"name": "x" * 41}, "name", "is not allowed", "at most 40"),
        ({"adaptive": {"minimum": 5, "maximum": 2}}, "adaptive", "minimum 5 is above maximum 2", "Swap them"),
        ({"adaptive": {"minimum": 0, "maximum": 10**7}}, "adaptive.maximum", "10000000 is not allowed", None),
        ({"env": {"A B": "1"}}, "env", "'A B' is no name", "Use letters"),
        ({"env": {"A": 1}}, "env.A", "1 is not allowed", None),
        ({"modules": ["a-b"]}, "modules", "'a-b' is no importable module name", "mypackage.corrections"),
        ({"cores": 0}, "cores", "0 is not allowed", None),
        ({"colour": "red"}, "colour", "not permitted", None),
    ],
)
def test_mistakes_name_field_value_and_remedy(values, field, says, hint):
    with pytest.raises(BadInput) as caught:
        asking.validated(ClusterSpec, {"name": "z"} | values)
    error = caught.value
    assert error.field == field
    assert error.message.startswith(f"{field}: ") and says in error.message
    assert hint is None or hint in error.hint


def test_all_mistakes_are_told_at_once():
    with pytest.raises(BadInput) as caught:
        asking.validated(ClusterSpec, {"name": "z", "memory_bytes": "banana", "cores": 0, "lifetime_s": "never"})
    assert {p.field for p in caught.value.errors} == {"memory", "cores", "lifetime"}
    for word in ("banana", "0 is not", "never"):
        assert word in str(caught.value)


def test_extension_moves_the_planned_end():
    assert asking.extension(record(), {}, "2 h").lifetime_s == 3 * 3600
    assert asking.extension(record(lifetime_s=60), {}, 30).lifetime_s == 90
    change = asking.extension(record(), {"lifetime_s": "8 h", "idle_timeout_s": None}, None)
    assert change.model_dump(exclude_unset=True) == {"lifetime_s": 8 * 3600}


@pytest.mark.parametrize(
    ("spec", "values", "by", "field"),
    [
        ({}, {}, None, "lifetime"),
        ({}, {"lifetime_s": "2 h"}, "1 h", "by"),
        ({}, {}, "later", "by"),
        ({"lifetime_s": 0}, {}, "1 h", "by"),
        ({}, {"idle_timeout_s": "later"}, None, "idle_timeout"),
    ],
)
def test_extension_says_what_is_wrong(spec, values, by, field):
    with pytest.raises(BadInput) as caught:
        asking.extension(record(**spec), values, by)
    assert caught.value.field == field
    assert caught.value.hint


def test_free_names():
    assert asking.free_name("zmumu", [], numbered=False) == "zmumu"
    assert asking.free_name("zmumu", ["zmumu", "zmumu-2"], numbered=False) == "zmumu-3"
    assert asking.free_name("cluster", ["cluster-1", "cluster-3"], numbered=True) == "cluster-2"


def test_waiting_time_and_size():
    assert asking.seconds(None, "timeout") is None
    assert asking.seconds(0.5, "timeout") == 0.5
    assert asking.seconds("2 min", "timeout") == 120
    assert asking.size("1 MiB", "tail") == 2**20
    for wrong in (-1, True, "soon"):
        with pytest.raises(BadInput) as caught:
            asking.seconds(wrong, "timeout")
        assert caught.value.field == "timeout"
