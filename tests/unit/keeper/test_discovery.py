"""Definitions that stand for several sites. The backend here sees what a test lets it see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jupyter_offload.api.models import SiteDefinition
from jupyter_offload.api.problems import Unavailable
from jupyter_offload.backends.local import LocalBackend
from jupyter_offload.keeper import discovery, site_sources
from jupyter_offload.keeper.discovery import Discovery
from jupyter_offload.keeper.site_sources import Found
from jupyter_offload.keeper.sites import SiteRegistry


def definition(name: str, title: str = "", backend: str = "several") -> SiteDefinition:
    profile = {"name": "tiny", "cores": 1, "memory_bytes": 2**30}
    return SiteDefinition.model_validate({"name": name, "title": title, "backend": backend, "profiles": [profile]})


class Several(LocalBackend):
    """A place with several sites."""

    answer: Sequence[SiteDefinition] | Exception | None = ()
    looks = 0
    hold: asyncio.Event | None = None

    def __init__(self, site: SiteDefinition) -> None:
        super().__init__(site)
        self.closed = False

    @classmethod
    async def discover(cls, definition: SiteDefinition) -> Sequence[SiteDefinition] | None:
        Several.looks += 1
        if Several.hold is not None:
            await Several.hold.wait()
        if definition.name != "template":
            return None
        if isinstance(Several.answer, Exception):
            raise Several.answer
        return Several.answer

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _backend(monkeypatch: pytest.MonkeyPatch) -> None:
    Several.answer, Several.looks, Several.hold = (), 0, None
    known = site_sources._backend_class
    monkeypatch.setattr(site_sources, "_backend_class", lambda kind: Several if kind == "several" else known(kind))


@pytest.fixture
def outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "FRESH_S", -1.0)


@pytest.fixture
async def looking():
    changed = asyncio.Event()
    looking = Discovery(changed.set)
    looking.was_changed = changed
    yield looking
    await looking.close()


def names(found: Sequence[Found]) -> list[tuple[str, bool]]:
    return [(f.name, f.discovered) for f in found]


TEMPLATE = Found("template", "template.yaml", definition("template"))


async def test_a_template_is_the_sites_it_stands_for(looking: Discovery) -> None:
    Several.answer = [definition("vk-a"), definition("vk-b")]
    plain = Found("plain", "plain.yaml", definition("plain"))
    found = await looking.expand([TEMPLATE, plain, Found("local", "built in", definition("local", backend="local"))])
    assert names(found) == [("plain", False), ("local", False), ("vk-a", True), ("vk-b", True)]
    assert found[2].source == "template.yaml, discovered"


async def test_what_was_just_looked_at_is_not_looked_at_again(looking: Discovery) -> None:
    for _ in range(5):
        await looking.expand([TEMPLATE])
    assert Several.looks == 1
    changed = Found("template", "template.yaml", definition("template", title="Other"))
    await looking.expand([changed])
    assert Several.looks == 2


async def test_a_site_itself_is_asked_about_sites_once(looking: Discovery, outdated: None) -> None:
    for _ in range(3):
        assert names(await looking.expand([Found("plain", "", definition("plain"))])) == [("plain", False)]
    assert Several.looks == 1


async def test_a_look_that_fails_keeps_the_sites_found_before(looking: Discovery, outdated: None) -> None:
    Several.answer = [definition("vk-a")]
    assert names(await looking.expand([TEMPLATE])) == [("vk-a", True)]
    for fault in (Unavailable("site-unreachable", "No route."), TimeoutError(), KeyError("items")):
        Several.answer = fault
        for _ in range(3):
            assert names(await looking.expand([TEMPLATE])) == [("vk-a", True)]
            await asyncio.sleep(0.01)
    assert not looking.was_changed.is_set()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            Unavailable("site-unreachable", "No route to the API server.", hint="Look at the VPN."),
            "No route to the API",
        ),
        (TimeoutError(), "No answer within 20 s."),
        (KeyError("items"), "KeyError: 'items'"),
        ([], "No site was found there."),
    ],
)
async def test_a_template_that_stands_for_nothing_says_why(looking: Discovery, answer, says: str) -> None:
    Several.answer = answer
    (shown,) = await looking.expand([TEMPLATE])
    assert (shown.name, shown.definition) == ("template", None)
    assert says in shown.problems[0].message
    if isinstance(answer, Unavailable):
        assert shown.problems[0].hint == "Look at the VPN."


async def test_a_place_that_hangs_delays_the_list_a_moment_and_once(
    looking: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FIRST_WAIT_S", 0.05)
    Several.answer, Several.hold = [definition("vk-a")], asyncio.Event()
    (shown,) = await looking.expand([TEMPLATE])
    assert "being looked for" in shown.problems[0].message
    Several.hold.set()
    await asyncio.sleep(0.05)
    assert names(await looking.expand([TEMPLATE])) == [("vk-a", True)]


async def test_what_comes_and_goes_is_told(looking: Discovery, outdated: None) -> None:
    Several.answer = [definition("vk-a")]
    await looking.expand([TEMPLATE])
    Several.answer = [definition("vk-a"), definition("vk-b")]
    await looking.expand([TEMPLATE])
    await asyncio.wait_for(looking.was_changed.wait(), 30)
    assert names(await looking.expand([TEMPLATE])) == [("vk-a", True), ("vk-b", True)]


class TestRegistry:
    """Sites that were discovered, among those that are declared."""

    @pytest.fixture
    async def registry(self, tmp_path, monkeypatch: pytest.MonkeyPatch, outdated: None):
        self.folder = tmp_path
        self.write("template")
        registry = SiteRegistry([tmp_path], plugins=False)
        yield registry
        await registry.close()

    def write(self, name: str, title: str = "") -> None:
        site = definition(name, title)
        (self.folder / f"{name}.yaml").write_text(site.model_dump_json(exclude_defaults=True))

    @staticmethod
    async def seen(registry: SiteRegistry, wanted: list[str]) -> None:
        async def until() -> None:
            while [e.name for e in registry.all()] != wanted:
                await registry.refresh()
                await asyncio.sleep(0.01)

        await asyncio.wait_for(until(), 30)

    async def test_a_file_refines_the_site_of_its_name(self, registry: SiteRegistry) -> None:
        Several.answer = [definition("vk-a", "From the node"), definition("vk-b")]
        self.write("vk-a", "Leonardo")
        await self.seen(registry, ["local", "vk-a", "vk-b"])
        assert (registry.get("vk-a").title, registry.get("vk-a").discovered) == ("Leonardo", False)
        assert registry.get("vk-b").discovered

    async def test_a_site_that_is_gone_goes_unless_clusters_run_there(self, registry: SiteRegistry) -> None:
        Several.answer = [definition("vk-a"), definition("vk-b")]
        await self.seen(registry, ["local", "vk-a", "vk-b"])
        used, unused = registry.get("vk-a").backend, registry.get("vk-b").backend
        registry.in_use = lambda: {"vk-a"}
        Several.answer = [definition("vk-c")]
        await self.seen(registry, ["local", "vk-c", "vk-a"])
        assert registry.get("vk-a").backend is used and not used.closed
        assert unused.closed
        registry.in_use = set
        await self.seen(registry, ["local", "vk-c"])
        assert used.closed

    async def test_one_that_never_answered_is_shown_with_its_error(self, registry: SiteRegistry) -> None:
        Several.answer = Unavailable("site-unreachable", "No route to the API server.")
        await self.seen(registry, ["local", "template"])
        site = await registry.describe(registry.get("template"))
        assert site.health.state == "unhealthy"
        assert "No route to the API server." in site.health.message
