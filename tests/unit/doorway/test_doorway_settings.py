"""``placement.yaml``: every mistake with its line and its remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jupyter_offload.api.problems import Unavailable
from jupyter_offload.doorway.files import parse_placement, read_placement
from jupyter_offload.doorway.settings import Placement

ROOT = Path(__file__).parents[3]
FILE = Path("placement.yaml")


def wrong(text: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        parse_placement(FILE, text.encode())
    return caught.value


def test_an_empty_file_is_enough() -> None:
    assert parse_placement(FILE, b"# on\n") == Placement()


def test_units_are_as_in_site_files() -> None:
    placement = parse_placement(FILE, b"cores: 0.5\nmemory_bytes: 2 GiB\nidle_s: 1 h\n")
    assert (placement.cores, placement.memory_bytes, placement.idle_s) == (0.5, 2 << 30, 3600)


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ("image: x\ncore: 2\n", "core (line 2)", "Did you mean cores?"),
        ("cores: 0\n", "cores (line 1)", "write for example 2"),
        ("namespace: My_Space\n", "namespace (line 1)", "lower-case"),
        ("service_account: A!\n", "service_account (line 1)", "kubectl get serviceaccounts"),
        ("port: 22\n", "port (line 1)", "at least 1024"),
        ("kubeconfig: here\n", "kubeconfig (line 1)", "/path"),
        ("volumes: []\n", "placement.yaml (line 1)", "both"),
        ("volumes: []\nmounts: [{name: a, mountPath: /a}]\n", "placement.yaml (line 1)", "add it there"),
        ("labels: {offload.dask.org/role: me}\n", "placement.yaml (line 1)", "another prefix"),
        ("environment: {JUPYTERHUB_API_TOKEN: x}\n", "placement.yaml (line 1)", ""),
        ("- a list\n", "placement.yaml (line 1)", "cores: 2"),
    ],
)
def test_a_mistake_names_its_place_and_its_remedy(text: str, field: str, remedy: str) -> None:
    error = wrong(text)
    assert error.field == field
    assert remedy.lower() in str(error.hint).lower()
    assert "placement.yaml" in error.message


def test_all_mistakes_are_said_at_once_in_their_order() -> None:
    error = wrong("cores: many\nport: 1\nnamspace: x\n")
    assert [p.field for p in error.errors] == ["cores (line 1)", "port (line 2)", "namspace (line 3)"]
    assert "3 mistakes" in error.message


def test_the_nearest_file_counts_and_none_means_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert read_placement() == Placement()
    for name, image in (("JUPYTER_CONFIG_PATH", "far"), ("JUPYTER_CONFIG_DIR", "near")):
        (tmp_path / name / "offload").mkdir(parents=True)
        (tmp_path / name / "offload" / "placement.yaml").write_text(f"image: {image}\n")
    # JUPYTER_CONFIG_PATH comes first, as for all of Jupyter
    assert read_placement().image == "far"


def test_examples_in_the_documentation_are_right() -> None:
    page = (ROOT / "docs" / "reference" / "placement-file.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert examples
    for text in examples:
        assert parse_placement(FILE, text.encode()) != Placement()


def test_every_field_is_described() -> None:
    page = (ROOT / "docs" / "reference" / "placement-file.md").read_text()
    table = page.partition("<!-- fields: Placement -->")[2].partition("<!-- end -->")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(Placement.model_fields)
    assert not re.search(r"\| *\|$", table, re.MULTILINE)
