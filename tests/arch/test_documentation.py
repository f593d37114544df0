"""Docs and code say the same: codes, routes, fields, examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jupyter_offload.api import openapi
from jupyter_offload.api.models import Accelerator, Profile, ReasonCode, SiteDefinition
from jupyter_offload.api.problems import ProblemCode
from jupyter_offload.api.routes import ROUTES
from jupyter_offload.keeper.site_files import parse_site_file

_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def headings(page: Path) -> list[str]:
    return [h.strip("`") for h in _HEADING.findall(_CODE.sub("", page.read_text()))]


@pytest.mark.parametrize(("codes", "kind"), [(list(ReasonCode), "ReasonCode"), (list(ProblemCode), "ProblemCode")])
def test_every_code_is_given_by_something(codes: list[ReasonCode | ProblemCode], kind: str, root: Path) -> None:
    definitions = {"models.py", "problems.py"}
    source = "\n".join(p.read_text() for p in (root / "jupyter_offload").rglob("*.py") if p.name not in definitions)
    unused = [c.name for c in codes if f"{kind}.{c.name}" not in source and f'"{c.name}"' not in source]
    assert not unused


def test_every_route_has_its_entry(root: Path) -> None:
    entries = headings(root / "docs" / "reference" / "http-api.md")
    for route in ROUTES:
        assert f"{route.method} {route.path}" in entries


def test_every_field_of_a_site_file_is_described(root: Path) -> None:
    page = (root / "docs" / "reference" / "site-files.md").read_text()
    for model in (SiteDefinition, Profile, Accelerator):
        _, _, rest = page.partition(f"<!-- fields: {model.__name__} -->")
        table, _, _ = rest.partition("<!-- end -->")
        assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(model.model_fields)
        assert all(f.description for f in model.model_fields.values())
        assert not re.search(r"\| *\|$", table, re.MULTILINE)


def test_made_pages_are_up_to_date(root: Path) -> None:
    script = root / "docs" / "build_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_frontends_copy_of_the_schema_is_up_to_date(root: Path) -> None:
    committed = (root / "labextension" / "openapi.json").read_text()
    assert committed == openapi.text(), "run: python -m jupyter_offload.api.openapi > labextension/openapi.json"


def test_every_example_of_a_site_file_is_right(root: Path) -> None:
    files = {p.stem: p.read_bytes() for p in (root / "deploy" / "sites").glob("*.yaml")}
    assert files
    example = _CODE.search((root / "docs" / "reference" / "site-files.md").read_text())
    assert example is not None
    text = example[0].partition("\n")[2].removesuffix("```")
    files[yaml.safe_load(text)["name"]] = text.encode()
    for name, content in files.items():
        assert parse_site_file(Path(f"{name}.yaml"), content).problems == []
