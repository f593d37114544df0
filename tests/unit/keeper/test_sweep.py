"""What is left at sites. The backend here can do what no real one can be made to: fail, hang, and delete in its own time."""

from __future__ import annotations

import asyncio
import time

import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.problems import Unavailable
from jupyter_offload.keeper import sweep as module
from jupyter_offload.keeper.sites import SiteEntry
from jupyter_offload.keeper.sweep import findings, sweep
from jupyter_offload.ports import Capability, Owned


class Site:
    def __init__(self, *held: Owned, confirms_after: int = 1, fault: Exception | None = None) -> None:
        self.capabilities: frozenset[Capability] = frozenset()
        self.held = list(held)
        self.confirms_after = confirms_after
        self.fault = fault
        self.owners: list[str] = []
        self.asked: list[str] = []
        self.looked = asyncio.Event()

    async def find_owned(self, owner: str) -> list[Owned]:
        self.owners.append(owner)
        self.looked.set()
        if self.fault is not None:
            raise self.fault
        return self.held

    async def delete_owned(self, owned: Owned) -> bool:
        self.asked.append(owned.what)
        return self.asked.count(owned.what) >= self.confirms_after


class OtherSite(Site):
    pass


@pytest.fixture(autouse=True)
def _own_folder_and_no_patience(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)


def entry(name: str, backend: Site | None) -> SiteEntry:
    return SiteEntry(name, name, backend=backend)  # type: ignore[arg-type]


def pod(cluster: str, what: str = "pod offload-w1", age_s: float | None = 3600) -> Owned:
    return Owned(cluster, what, made_at=None if age_s is None else time.time() - age_s)


async def nobody() -> set[str]:
    return set()


async def looks_after_known() -> set[str]:
    return {"known"}


async def test_what_belongs_to_no_cluster_is_deleted_until_the_site_confirms() -> None:
    site = Site(pod("known", "pod a"), pod("unknown", "pod b"), confirms_after=3)
    report = await sweep([entry("far", site)], looks_after_known)
    assert [(s.site, s.cluster, s.what, s.state) for s in report.swept] == [("far", "unknown", "pod b", "deleted")]
    assert site.asked == ["pod b"] * 3
    assert site.owners == [locations.owner_id()]
    assert report.problems == []


async def test_a_dry_run_deletes_nothing() -> None:
    site = Site(pod("unknown"))
    report = await sweep([entry("far", site)], nobody, dry_run=True)
    assert [s.state for s in report.swept] == ["found"]
    assert site.asked == []


@pytest.mark.parametrize(("age_s", "swept"), [(1, 0), (59, 0), (61, 1), (None, 1)])
async def test_what_may_be_of_a_cluster_that_is_just_being_made_stays(age_s: float | None, swept: int) -> None:
    assert len((await sweep([entry("far", Site(pod("unknown", age_s=age_s)))], nobody)).swept) == swept


async def test_a_cluster_that_is_made_during_the_look_is_known() -> None:
    site = Site(pod("made-meanwhile", age_s=None))

    async def known() -> set[str]:
        return {"made-meanwhile"} if site.looked.is_set() else set()

    assert (await sweep([entry("far", site)], known)).swept == []


async def test_without_the_records_nothing_is_deleted() -> None:
    site = Site(pod("unknown"))

    async def unreadable() -> set[str]:
        raise Unavailable("keeper-unreachable", "The records cannot be read.")

    with pytest.raises(Unavailable):
        await sweep([entry("far", site)], unreadable)
    assert site.asked == []


@pytest.mark.parametrize(
    ("fault", "says", "hint"),
    [
        (Unavailable("site-unreachable", "No route.", hint="Look at the VPN."), "No route.", "Look at the VPN."),
        (TimeoutError(), "No answer within 10 s.", "It is looked for again later."),
        (KeyError("metadata"), "KeyError: 'metadata'", "The keeper's log has the details."),
    ],
)
async def test_a_site_that_cannot_be_asked_keeps_no_other_from_being_swept(fault, says: str, hint: str) -> None:
    well = Site(pod("unknown"))
    report = await sweep([entry("ill", Site(fault=fault)), entry("far", well)], nobody)
    assert [s.site for s in report.swept] == ["far"]
    (problem,) = report.problems
    assert problem.check == "site ill: sweep" and says in problem.message and problem.hint == hint


async def test_a_site_that_fails_or_never_confirms_is_told_as_deleting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    slow = Site(pod("unknown"), confirms_after=10**9)
    report = await sweep([entry("far", slow)], nobody)
    assert [s.state for s in report.swept] == ["deleting"]

    async def fail(_: Owned) -> bool:
        raise RuntimeError("plugin fault")

    broken = Site(pod("unknown"))
    broken.delete_owned = fail  # type: ignore[method-assign]
    assert [s.state for s in (await sweep([entry("far", broken)], nobody)).swept] == ["deleting"]


async def test_what_several_sites_show_is_deleted_once() -> None:
    same, again, other = Site(pod("unknown")), Site(pod("unknown")), OtherSite(pod("unknown"))
    report = await sweep([entry("a", same), entry("b", again), entry("c", other)], nobody)
    assert [s.site for s in report.swept] == ["a", "c"]
    assert (same.asked, again.asked) == (["pod offload-w1"], [])


async def test_this_machine_and_broken_sites_are_left_out() -> None:
    local = Site(pod("unknown"))
    local.capabilities = frozenset({Capability.local_workers})
    assert (await sweep([entry("local", local), entry("broken", None)], nobody)).swept == []
    assert local.owners == []


async def test_the_doctor_says_what_was_left_and_whether_it_is_gone() -> None:
    report = await sweep([entry("far", Site(pod("unknown")))], nobody)
    (gone,) = findings(report)
    assert gone.message == "pod offload-w1 at site far belonged to no cluster and was deleted."
    (stays,) = findings(report.model_copy(update={"swept": [report.swept[0].model_copy(update={"state": "deleting"})]}))
    assert "has not deleted it yet" in stays.message
