"""What a spec may hold: names, quantities, variables, modules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jupyter_offload.api.models import (
    MAXIMUM_S,
    MAXIMUM_WORKERS,
    Adaptive,
    ClusterChange,
    ClusterRequest,
    ClusterSpec,
    Profile,
    SiteDefinition,
)


def mistakes(**fields: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        ClusterSpec.model_validate({"name": "a", **fields})
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", fullmatch=True))
def test_names_are_taken_as_they_are(name: str) -> None:
    assert ClusterSpec(name=name).name == name


@given(st.text(max_size=50))
def test_other_names_are_refused(name: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        return
    with pytest.raises(ValidationError):
        ClusterSpec(name=name)


@pytest.mark.parametrize("name", ["", "-a", ".", "../x", "a b", "a/b", "a\n", "ä", "a" * 41, "$(x)"])
def test_names_that_could_be_something_else_in_a_path_or_a_shell(name: str) -> None:
    with pytest.raises(ValidationError):
        ClusterSpec(name=name)
    with pytest.raises(ValidationError):
        ClusterRequest(id=name, spec=ClusterSpec(name="a"))


def test_quantities_are_read_as_people_write_them() -> None:
    spec = ClusterSpec.model_validate(
        {"name": "a", "memory_bytes": "4 GiB", "idle_timeout_s": "30 min", "lifetime_s": "2 h"}
    )
    assert (spec.memory_bytes, spec.idle_timeout_s, spec.lifetime_s) == (4 * 2**30, 1800, 7200)


def test_every_mistake_of_a_spec_is_found() -> None:
    found = mistakes(
        workers=MAXIMUM_WORKERS + 1, memory_bytes="banana", cores=0, idle_timeout_s=-1, lifetime_s=10**30, colour="red",
        env={"A B": "1"}, modules=["os; rm"], adaptive={"minimum": 3, "maximum": 2},
    )  # fmt: skip
    assert set(found) == {
        "workers", "memory_bytes", "cores", "idle_timeout_s", "lifetime_s", "colour", "env", "modules", "adaptive"
    }  # fmt: skip
    assert "'banana'" in found["memory_bytes"]
    assert "'A B'" in found["env"]
    assert "'os; rm'" in found["modules"]
    assert "swap them" in found["adaptive"]
    assert str(MAXIMUM_S) in found["lifetime_s"]


@pytest.mark.parametrize("name", ["A=B", "", "1A", "A\n", "A\0", "Ä"])
def test_names_of_variables(name: str) -> None:
    assert "env" in mistakes(env={name: "x"})


@pytest.mark.parametrize("module", ["", ".a", "a.", "a..b", "a-b", "a b", "a\n", "1a"])
def test_names_of_modules(module: str) -> None:
    assert "modules" in mistakes(modules=[module])
    assert ClusterSpec(name="a", modules=["my_package.corrections"]).modules == ["my_package.corrections"]


def test_a_change_knows_what_was_left_out() -> None:
    assert ClusterChange.model_validate({"adaptive": None}).model_fields_set == {"adaptive"}
    assert ClusterChange().model_fields_set == set()
    with pytest.raises(ValidationError):
        ClusterChange.model_validate({"worker": 2})


def test_profiles_of_a_site_differ_and_the_default_is_one_of_them() -> None:
    profile = Profile(name="a", cores=1, memory_bytes=1)
    with pytest.raises(ValidationError, match="names must differ"):
        SiteDefinition(name="s", backend="local", profiles=[profile, profile])
    with pytest.raises(ValidationError, match="'b' is not one of a"):
        SiteDefinition(name="s", backend="local", profiles=[profile], default_profile="b")
    with pytest.raises(ValidationError):
        SiteDefinition(name="s", backend="local", profiles=[])


def test_adaptive_from_none_to_some() -> None:
    assert Adaptive(maximum=3).minimum == 0
    with pytest.raises(ValidationError):
        Adaptive(maximum=0)
