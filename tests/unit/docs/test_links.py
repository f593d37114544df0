"""Every link and picture in the documentation leads somewhere, and every page can be reached from the map."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    text = _CODE.sub("", _FENCE.sub("", page.read_text()))
    return [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives headings."""
    found = set()
    for line in _FENCE.sub("", page.read_text()).splitlines():
        if heading := re.match(r"#+\s+(.*)", line):
            plain = re.sub(r"[^\w\- ]", "", heading[1].replace("`", "").lower())
            found.add(plain.strip().replace(" ", "-"))
    return found


def broken(page: Path) -> list[str]:
    wrong = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_every_page_is_on_the_map():
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        waiting += [t for t in targets if t.suffix == ".md" and t.exists()]
    assert sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if p not in reached) == []


def test_the_check_finds_what_is_broken(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A b\n[x](gone.md) [y](#a-b) [z](#c) ![i](no.png) `[code](code.md)` [w](https://example.org)\n```\n[f](f.md)\n```\n"
    )
    assert broken(page) == ["gone.md", "#c", "no.png"]


def test_settings_page_has_every_setting():
    import json

    page = (DOCS / "reference" / "settings.md").read_text()
    schema = json.loads((ROOT / "labextension" / "schema" / "plugin.json").read_text())
    assert [name for name in schema["properties"] if f"`{name}`" not in page] == []
    from jupyter_offload.server.app import OffloadApp

    own = OffloadApp.class_own_traits(config=True)
    assert [name for name in own if f"`c.OffloadApp.{name}`" not in page] == []


def test_settings_page_has_every_environment_variable():
    page = (DOCS / "reference" / "settings.md").read_text()
    used = set()
    for path in (ROOT / "jupyter_offload").rglob("*.py"):
        used |= set(re.findall(r"\"(JUPYTER_OFFLOAD_[A-Z_]+)\"", path.read_text()))
    assert used
    assert sorted(name for name in used if f"`{name}`" not in page) == []


def test_glossary_is_in_order():
    names = re.findall(r"^\*\*([^*]+)\*\*:", (DOCS / "reference" / "glossary.md").read_text(), re.MULTILINE)
    assert len(names) > 10
    assert names == sorted(names)
