"""The registry: where sites come from, who wins, and that a broken one stops nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from jupyter_offload.api.models import HealthState
from jupyter_offload.api.problems import BadInput, NotFound, ProblemCode
from jupyter_offload.backends.local import LocalBackend
from jupyter_offload.keeper import site_plugins, sites
from jupyter_offload.keeper.sites import SiteRegistry

LOCAL = """\
title: {title}
backend: local
profiles:
  - name: tiny
    cores: 1
    memory_bytes: 512 MiB
"""

#: Faults that no real backend can be made to show at will.
PLUGIN = """
import asyncio, time
from jupyter_offload.api.models import Capacity, Health, HealthState, SiteDefinition
from jupyter_offload.api.problems import Unavailable
from jupyter_offload.backends.local import LocalBackend

SITE = {"backend": "local", "profiles": [{"name": "tiny", "cores": 1, "memory_bytes": "1 GiB"}]}

def one():
    return dict(SITE, name="mapped")

def many():
    return [SiteDefinition(name="first", **SITE), dict(SITE, name="second")]

def failing():
    raise RuntimeError("no network")

def hanging():
    time.sleep(3600)

def nonsense():
    return 5

def invalid():
    return dict(SITE, name="invalid", backend=7)

class Faulty(LocalBackend):
    def __init__(self, site):
        self.fault = site.options.get("fault", "")
        if self.fault == "constructor":
            raise ZeroDivisionError("oops")
        super().__init__(site.model_copy(update={"options": {}}))
        self.asked = 0
        self.closed = False

    async def health(self):
        self.asked += 1
        if self.fault == "hangs":
            await asyncio.sleep(3600)
        if self.fault == "raises":
            raise KeyError("x")
        if self.fault == "unreachable":
            raise Unavailable("timeout", "The head node does not answer.", hint="Wait.")
        return Health(state=HealthState.healthy)

    async def capacity(self):
        if self.fault:
            raise KeyError("x")
        return Capacity(cores_total=3)

    async def close(self):
        self.closed = True
        if self.fault == "hangs":
            await asyncio.sleep(3600)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that installs a distribution with the given entry points, each ``name = attribute``."""
    site_packages = tmp_path / "site-packages"
    info = site_packages / "offload_test_plugin-1.dist-info"
    info.mkdir(parents=True)
    (site_packages / "offload_test_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offload_test_plugin\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(site_packages))
    monkeypatch.delitem(sys.modules, "offload_test_plugin", raising=False)

    def install(sites: tuple[str, ...] = (), backends: tuple[str, ...] = ("faulty = Faulty",)) -> None:
        lines = ["[jupyter_offload.sites]", *sites, "[jupyter_offload.backends]", *backends]
        (info / "entry_points.txt").write_text(
            "\n".join(line.replace("= ", "= offload_test_plugin:") for line in lines)
        )

    return install


@pytest.fixture
async def registry() -> AsyncIterator[SiteRegistry]:
    """The registry as the keeper makes it."""
    registry = SiteRegistry()
    yield registry
    await registry.close()


def faulty(fault: str) -> str:
    return LOCAL.format(title="Faulty").replace("local", "faulty") + f"options: {{fault: '{fault}'}}\n"


# ---------------------------------------------------------------- where sites come from
async def test_without_any_file_there_is_this_machine(registry: SiteRegistry) -> None:
    assert await registry.refresh() is True
    (entry,) = registry.all()
    definition, backend = entry.ready()
    assert (entry.name, entry.title) == ("local", "This machine")
    assert isinstance(backend, LocalBackend)
    site = await registry.describe(entry)
    assert site.health.state is not HealthState.unknown
    assert site.default_profile == "small"
    assert site.capacity.cores_total
    assert site.health.checked_at is not None
    assert site.profiles == definition.profiles


async def test_a_file_overrides_this_machine_and_keeps_its_limits(registry: SiteRegistry, sites_folder: Path) -> None:
    (sites_folder / "local.yaml").write_text(LOCAL.format(title="My desk"))
    await registry.refresh()
    (entry,) = registry.all()
    definition, _ = entry.ready()
    assert entry.title == "My desk"
    assert entry.source == str(sites_folder / "local.yaml")
    (profile,) = definition.profiles
    assert profile.maximum_cores is not None
    assert profile.maximum_memory_bytes is not None
    assert profile.maximum_memory_bytes > profile.memory_bytes


async def test_the_first_folder_wins_per_name(tmp_path: Path) -> None:
    for folder, names in {"user": ("a", "b"), "system": ("b", "c")}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.yaml").write_text(LOCAL.format(title=folder))
    (tmp_path / "user" / "notes.txt").write_text("no site")
    (tmp_path / "user" / ".c.yaml").write_text("an editor's leftover")
    registry = SiteRegistry([tmp_path / "user", tmp_path / "absent", tmp_path / "system"])
    await registry.refresh()
    assert [(e.name, e.title) for e in registry.all()] == [
        ("local", "This machine"), ("a", "user"), ("b", "user"), ("c", "system"),
    ]  # fmt: skip


async def test_plugins_bring_sites_and_backends(
    registry: SiteRegistry, sites_folder: Path, plugin: Callable[..., None]
) -> None:
    plugin(("mapped = one", "many = many", "constant = SITE"))
    (sites_folder / "second.yaml").write_text(LOCAL.format(title="from a file"))
    (sites_folder / "odd.yaml").write_text(faulty(""))
    await registry.refresh()
    assert [e.name for e in registry.all()] == ["local", "constant", "first", "mapped", "odd", "second"]
    assert registry.get("second").title == "from a file"
    assert "offload_test_plugin:many" in registry.get("first").source
    assert (await registry.describe(registry.get("odd"))).capacity.cores_total == 3


async def test_an_unknown_site_names_those_there_are(registry: SiteRegistry, sites_folder: Path) -> None:
    (sites_folder / "desk.yaml").write_text(LOCAL.format(title="My desk"))
    await registry.refresh()
    with pytest.raises(NotFound) as caught:
        registry.get("dsek")
    assert caught.value.code is ProblemCode.unknown_site
    assert caught.value.field == "site"
    assert caught.value.hint == "Sites here: local, desk."


# ---------------------------------------------------------------- broken ones
async def test_a_broken_file_is_shown_with_all_its_mistakes_and_stops_nothing(
    registry: SiteRegistry, sites_folder: Path
) -> None:
    broken = sites_folder / "broken.yaml"
    broken.write_text("backend: local\nprofiles:\n  - name: a\n    cores: x\n    memory_bytes: banana\n")
    (sites_folder / "fine.yaml").write_text(LOCAL.format(title="Fine"))
    await registry.refresh()
    assert [e.name for e in registry.all()] == ["local", "broken", "fine"]
    registry.get("fine").ready()
    entry = registry.get("broken")
    site = await registry.describe(entry)
    assert site.health.state is HealthState.unhealthy
    assert site.health.message.startswith(f"2 mistakes in {broken}:\n")
    assert "profiles[0].memory_bytes (line 5): 'banana' is not an amount of memory. Write for" in site.health.message
    with pytest.raises(BadInput) as caught:
        entry.ready()
    assert caught.value.code is ProblemCode.site_unhealthy
    assert [p.field for p in caught.value.errors] == ["profiles[0].cores (line 4)", "profiles[0].memory_bytes (line 5)"]


async def test_wrong_options_and_unknown_backends_are_mistakes_of_the_file_with_lines(
    registry: SiteRegistry, sites_folder: Path
) -> None:
    (sites_folder / "options.yaml").write_text(LOCAL.format(title="a") + "options:\n  queue: long\n")
    (sites_folder / "kind.yaml").write_text(LOCAL.format(title="a").replace("local", "locale"))
    await registry.refresh()
    (problem,) = registry.get("options").problems
    assert problem.field == "options.queue (line 8)"
    (problem,) = registry.get("kind").problems
    assert problem.field == "backend (line 2)"
    assert problem.message == "There is no backend 'locale'."
    assert "local" in (problem.hint or "")


async def test_a_bad_edit_keeps_running_clusters_but_takes_no_new_ones(
    registry: SiteRegistry, sites_folder: Path
) -> None:
    file = sites_folder / "desk.yaml"
    file.write_text(LOCAL.format(title="My desk"))
    await registry.refresh()
    backend = registry.get("desk").backend
    assert backend is not None
    assert await registry.refresh() is False
    assert registry.get("desk").backend is backend

    file.write_text(LOCAL.format(title="My desk").replace("512 MiB", "banana"))
    assert await registry.refresh() is True
    assert registry.get("desk").backend is backend
    assert "Clusters that run there go on" in ((await registry.describe(registry.get("desk"))).health.hint or "")
    with pytest.raises(BadInput):
        registry.get("desk").ready()
    assert await registry.refresh() is False

    file.write_text(LOCAL.format(title="Better"))
    assert await registry.refresh() is True
    assert registry.get("desk").ready()[0].title == "Better"
    file.unlink()
    assert await registry.refresh() is True
    with pytest.raises(NotFound):
        registry.get("desk")


async def test_broken_plugins_are_unhealthy_sites(registry: SiteRegistry, plugin: Callable[..., None]) -> None:
    plugin(("down = failing", "number = nonsense", "wrong = invalid", "gone = absent"))
    await registry.refresh()
    assert [e.name for e in registry.all()] == ["local", "down", "gone", "invalid", "number"]
    messages = {e.name: " ".join(p.message for p in e.problems) for e in registry.all()}
    assert messages["local"] == ""
    assert "RuntimeError: no network" in messages["down"]
    assert "absent" in messages["gone"]
    assert "it gave int" in messages["number"]
    assert "valid string" in messages["invalid"]


async def test_a_hanging_plugin_delays_once_and_stops_nothing(
    registry: SiteRegistry, plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(("stuck = hanging", "mapped = one"))
    monkeypatch.setattr(site_plugins, "TIMEOUT_S", 3)
    await registry.refresh()
    assert "within" in registry.get("stuck").problems[0].message
    registry.get("mapped").ready()
    monkeypatch.setattr(site_plugins, "TIMEOUT_S", 3600)
    await asyncio.wait_for(registry.refresh(), 30)  # does not wait for it a second time
    assert registry.get("stuck").problems


async def test_a_backend_that_cannot_be_made_says_why(
    registry: SiteRegistry, sites_folder: Path, plugin: Callable[..., None]
) -> None:
    plugin(backends=("faulty = Faulty", "missing = Missing"))
    (sites_folder / "a.yaml").write_text(faulty("constructor"))
    (sites_folder / "b.yaml").write_text(LOCAL.format(title="b").replace("local", "missing"))
    await registry.refresh()
    assert "ZeroDivisionError: oops" in registry.get("a").problems[0].message
    assert "Missing" in registry.get("b").problems[0].message


# ---------------------------------------------------------------- what is seen of them
@pytest.mark.parametrize(
    ("fault", "state", "message"),
    [
        ("hangs", HealthState.unknown, "did not answer"),
        ("unreachable", HealthState.unknown, "The head node does not answer."),
        ("raises", HealthState.unhealthy, "KeyError"),
    ],
)
async def test_not_seeing_is_not_unhealthy(
    fault: str,
    state: HealthState,
    message: str,
    registry: SiteRegistry,
    sites_folder: Path,
    plugin: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin()
    monkeypatch.setattr(sites, "TIMEOUT_S", 1.0)
    (sites_folder / "far.yaml").write_text(faulty(fault))
    await registry.refresh()
    site = await registry.describe(registry.get("far"))
    assert site.health.state is state
    assert message in site.health.message
    assert site.health.hint
    assert site.capacity.cores_total is None


async def test_many_who_ask_at_once_cause_one_look(
    registry: SiteRegistry, sites_folder: Path, plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin()
    (sites_folder / "far.yaml").write_text(faulty(""))
    await registry.refresh()
    entry = registry.get("far")
    await asyncio.gather(*(registry.describe(entry) for _ in range(20)))
    assert entry.backend is not None
    assert entry.backend.asked == 1  # type: ignore[attr-defined]
    monkeypatch.setattr(sites, "FRESH_S", 0)
    await registry.describe(entry)
    assert entry.backend.asked == 2  # type: ignore[attr-defined]


async def test_a_replaced_backend_is_closed_even_if_it_hangs(
    registry: SiteRegistry, sites_folder: Path, plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin()
    monkeypatch.setattr(sites, "TIMEOUT_S", 1.0)
    file = sites_folder / "far.yaml"
    file.write_text(faulty("hangs"))
    await registry.refresh()
    old = registry.get("far").backend
    file.write_text(faulty(""))
    await registry.refresh()
    assert registry.get("far").backend is not old
    assert old.closed  # type: ignore[union-attr]
