"""Defaults filled in, limits checked, every violation at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_offload.api.models import Adaptive, ClusterSpec, Profile, SiteDefinition
from jupyter_offload.api.problems import BadInput, ProblemCode
from jupyter_offload.keeper import local_site
from jupyter_offload.keeper.sites import resolve

GIB = 2**30
SMALL = Profile(name="small", cores=1, memory_bytes=2 * GIB, maximum_workers=4, idle_timeout_s=600)
LARGE = Profile(
    name="large", cores=4, memory_bytes=8 * GIB, maximum_cores=8, maximum_memory_bytes=32 * GIB, maximum_workers=2,
    lifetime_s=3600, maximum_lifetime_s=7200,
)  # fmt: skip
SITE = SiteDefinition(name="desk", backend="local", profiles=[SMALL, LARGE])


def spec(**fields: object) -> ClusterSpec:
    return ClusterSpec.model_validate({"name": "zmumu", "site": "desk", **fields})


def refused(**fields: object) -> BadInput:
    with pytest.raises(BadInput) as caught:
        resolve(spec(**fields), SITE)
    return caught.value


def test_defaults_come_from_the_profile() -> None:
    resolved, profile = resolve(spec(), SITE)
    assert profile == SMALL
    assert (resolved.profile, resolved.workers, resolved.cores, resolved.memory_bytes) == ("small", 2, 1, 2 * GIB)
    assert (resolved.idle_timeout_s, resolved.lifetime_s) == (600, 0)
    resolved, _ = resolve(spec(profile="large"), SITE)
    assert (resolved.idle_timeout_s, resolved.lifetime_s) == (0, 3600)
    other = SITE.model_copy(update={"default_profile": "large"})
    assert resolve(spec(), other)[0].profile == "large"


def test_what_the_user_says_wins_within_the_limits() -> None:
    resolved, profile = resolve(
        spec(profile="large", cores=8, memory_bytes="32 GiB", idle_timeout_s=0, lifetime_s=7200, workers=0), SITE
    )
    assert (profile.cores, profile.memory_bytes) == (8, 32 * GIB)
    assert (resolved.workers, resolved.idle_timeout_s, resolved.lifetime_s) == (0, 0, 7200)
    assert resolve(spec(cores=1, memory_bytes="1 GiB"), SITE)[1].memory_bytes == GIB


def test_the_image_is_one_of_the_sites_and_its_first_by_default() -> None:
    images = [{"name": "analysis", "image": "facility/analysis:1"}, {"name": "ml", "image": "facility/ml:1"}]
    site = SiteDefinition.model_validate(SITE.model_dump() | {"images": images})
    assert resolve(spec(), site)[0].image == "analysis"
    assert resolve(spec(image="ml"), site)[0].image == "ml"
    assert resolve(spec(), SITE)[0].image is None
    with pytest.raises(BadInput) as caught:
        resolve(spec(image="mine"), site)
    assert (caught.value.code, caught.value.field) == (ProblemCode.unknown_image, "image")
    assert "'mine'" in caught.value.message and caught.value.hint == "Images there: analysis, ml."
    error = refused(image="ml")
    assert error.code is ProblemCode.unknown_image and "leave the image out" in (error.hint or "")


@pytest.mark.parametrize(
    ("lifetime_s", "maximum_s", "expected"),
    [(None, None, 0), (None, 60, 60), (0, 60, 60), (90, 60, 60), (30, 60, 30), (30, None, 30), (30, 0, 30)],
)
def test_a_default_never_breaks_the_maximum(lifetime_s: int | None, maximum_s: int | None, expected: int) -> None:
    profile = SMALL.model_copy(update={"lifetime_s": lifetime_s, "maximum_lifetime_s": maximum_s})
    resolved, _ = resolve(spec(), SITE.model_copy(update={"profiles": [profile]}))
    assert resolved.lifetime_s == expected


def test_the_first_workers_of_an_adaptive_cluster_are_within_its_range() -> None:
    assert resolve(spec(adaptive=Adaptive(minimum=3, maximum=4)), SITE)[0].workers == 3
    assert resolve(spec(adaptive=Adaptive(minimum=0, maximum=1)), SITE)[0].workers == 1


def test_an_unknown_profile_names_those_there_are() -> None:
    error = refused(profile="huge", workers=10**4)
    assert error.code is ProblemCode.unknown_profile
    assert (error.field, error.hint) == ("profile", "Profiles there: small, large.")
    assert "'huge'" in error.message
    assert [p.field for p in error.errors] == ["profile"]


def test_every_violation_at_once_with_value_and_remedy() -> None:
    error = refused(profile="large", cores=9, memory_bytes="33 GiB", workers=3, lifetime_s=0)
    assert error.code is ProblemCode.limit_exceeded
    assert error.status == 422
    said = {p.field: (p.message, p.hint or "") for p in error.errors}
    assert list(said) == ["cores", "memory_bytes", "workers", "lifetime_s"]
    assert said["cores"][0] == "9 cores for one worker are more than the 8 of profile 'large'."
    assert said["memory_bytes"][0] == "33 GiB for one worker are more than the 32 GiB of profile 'large'."
    assert said["memory_bytes"][1] == f"Ask for at most 32 GiB ({32 * GIB} bytes)."
    assert said["workers"][1] == "Ask for at most 2."
    assert said["lifetime_s"] == ("No end is longer than the 2 h of profile 'large'.", "Ask for at most 2 h (7200 s).")
    assert error.field == "cores"
    assert "3 more mistakes" in error.message


def test_the_limits_of_a_profile_without_maximum_are_its_own_size() -> None:
    assert [p.field for p in refused(cores=2, memory_bytes="3 GiB").errors] == ["cores", "memory_bytes"]


def test_adaptive_ranges_are_held_to_the_limit_of_workers() -> None:
    error = refused(adaptive={"minimum": 5, "maximum": 6}, workers=1)
    assert [p.field for p in error.errors] == ["adaptive.minimum", "adaptive.maximum"]
    assert refused(adaptive={"minimum": 1, "maximum": 6}).field == "adaptive.maximum"


@given(
    st.integers(1, 256),
    st.integers(2**28, 2**42),
    st.integers(0, 4),
    st.booleans(),
)
def test_resolving_twice_changes_nothing_on_any_machine(cores: int, memory: int, workers: int, adaptive: bool) -> None:
    site = local_site.definition(cores, memory)
    for profile in site.profiles:
        asked = spec(profile=profile.name, workers=workers, adaptive={"maximum": 2} if adaptive else None)
        resolved, size = resolve(asked, site)
        assert resolve(resolved, site) == (resolved, size)


def test_thresholds_of_the_allocator_are_numbers_of_bytes() -> None:
    resolve(spec(env={"MALLOC_TRIM_THRESHOLD_": "1048576", "MALLOC_MMAP_THRESHOLD_": "0"}), SITE)
    error = refused(env={"MALLOC_TRIM_THRESHOLD_": "banana", "MALLOC_MMAP_THRESHOLD_": "1 MiB"})
    assert [e.field for e in error.errors] == ["env.MALLOC_TRIM_THRESHOLD_", "env.MALLOC_MMAP_THRESHOLD_"]
    assert "'banana'" in error.errors[0].message
