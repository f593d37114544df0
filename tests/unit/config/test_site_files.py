"""A site file: all of its mistakes at once, each with its line and its remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_offload.api.models import FieldProblem, SiteDefinition
from jupyter_offload.keeper.site_files import MAXIMUM_BYTES, SiteFile, parse_site_file, read_site_file
from jupyter_offload.keeper.yaml_lines import MAXIMUM_NODES, field_name, load_yaml

GOOD = """\
title: The cluster downstairs
backend: jobqueue
default_profile: large
profiles:
  - name: small
    cores: 1
    memory_bytes: 2 GiB
    walltime_s: 2 h
  - name: large
    cores: 8
    memory_bytes: 16 GB
    accelerators:
      - {resource: nvidia.com/gpu, model: A100}
options:
  system: slurm
"""

FIVE_MISTAKES = """\
name: downstairs
titel: The cluster downstairs
backend: jobqueue
default_profile: huge
profiles:
  - name: small
    cores: two
    memory_bytes: 2 GiB
  - name: large
    cores: 8
    # as much as it takes
    memory_bytes: banana
    cores: 16
"""


def parse(text: str, name: str = "downstairs") -> SiteFile:
    return parse_site_file(Path(f"{name}.yaml"), text.encode())


def only(text: str) -> FieldProblem:
    (problem,) = parse(text).problems
    return problem


def test_a_good_file_is_a_definition() -> None:
    file = parse(GOOD)
    assert file.problems == []
    assert isinstance(file.definition, SiteDefinition)
    assert file.definition.name == "downstairs"
    assert [p.memory_bytes for p in file.definition.profiles] == [2 * 2**30, 16 * 10**9]
    assert file.definition.profiles[0].walltime_s == 7200
    assert file.definition.options == {"system": "slurm"}


def test_five_different_mistakes_are_said_at_once_with_line_and_remedy() -> None:
    file = parse(FIVE_MISTAKES)
    assert file.definition is None
    assert [(p.field, p.message, p.hint) for p in file.problems] == [
        ("titel (line 2)", "There is no field 'titel' here.", "Did you mean title?"),
        ("default_profile (line 4)", "There is no profile 'huge'.",
         "Name one that is in this file: small, large; or leave the line out for the first."),
        ("profiles[0].cores (line 7)", "'two' is not a whole number.", "Write for example cores: 4"),
        ("profiles[1].memory_bytes (line 12)", "'banana' is not an amount of memory.",
         "Write for example '4 GiB' or '512 MB'."),
        ("profiles[1].cores (line 13)", "'cores' stands here a second time; the first is in line 10.",
         "Remove one of the two."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "field", "message", "hint"),
    [
        ("memory_bytes: 2 GiB", "memory: 2 GiB", "memory (line 7)", "no field 'memory'", "memory_bytes?"),
        ("cores: 1", "cores: 0", "cores (line 6)", "'0' is less than the 1", "at least 1"),
        ("cores: 1", "cores: 5000", "cores (line 6)", "'5000' is more than the 1024", "at most 1024"),
        ("memory_bytes: 2 GiB", "memory_bytes: 0 GiB", "memory_bytes (line 7)", "'0 GiB' is no memory", "2 GiB"),
        ("memory_bytes: 2 GiB", "memory_bytes: -2 GiB", "memory_bytes (line 7)", "'-2 GiB' is not an amount", "4 GiB"),
        ("memory_bytes: 2 GiB", "memory_bytes:", "memory_bytes (line 7)", "is not an amount", "4 GiB"),
        ("name: small", "name: Small One", "profiles[0].name (line 5)", "'Small One' is not a name", "lower-case"),
        ("name: small", "name: large", "profiles[1].name (line 9)", "already, in line 5", "another name"),
        ("backend: jobqueue\n", "", "backend (line 1)", "'backend' is missing", "backend: local"),
        ("title: The cluster downstairs", "title: 5", "title (line 1)", "'5' is not text", 'title: "..."'),
        ("title: The cluster downstairs", "name: other", "name (line 1)", "'other'", "name: downstairs"),
        (
            "{resource: nvidia.com/gpu, model: A100}",
            "gpu",
            "accelerators[0] (line 13)",
            "'gpu' is not a group",
            "key: value",
        ),
        (
            "    walltime_s: 2 h",
            "    architecture: vax",
            "architecture (line 8)",
            "'vax' is not one of",
            "'amd64' or 'arm64'",
        ),
        ("  system: slurm", "  - slurm", "options (line 14)", "['slurm'] is not a group", "key: value"),
    ],
)
def test_each_mistake_names_place_value_and_remedy(old: str, new: str, field: str, message: str, hint: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if "default_profile" in text and "name: large" not in text:
        text = text.replace("default_profile: large\n", "")
    problems = parse(text).problems
    found = [p for p in problems if p.field.endswith(field)]
    assert len(found) == 1, problems
    assert message in found[0].message
    assert hint in (found[0].hint or "")


def test_missing_keys_of_a_profile_point_at_that_profile() -> None:
    problem = only(GOOD.replace("    cores: 8\n", ""))
    assert problem.field == "profiles[1].cores (line 9)"
    assert problem.hint == "Add the line: cores: 1"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "empty"),
        ("# nothing but this\n", 1, "empty"),
        ("- a\n- b\n", 1, "holds a list"),
        ("title: a\nprofiles: [\n", 3, "not YAML"),
        ("title: a\n\tbackend: local\n", 2, "not YAML"),
        ("title: a\n---\ntitle: b\n", 2, "another document"),
        ("title: &a [*a]\n", 1, "contains itself"),
    ],
)
def test_what_is_no_mapping_says_where(text: str, line: int, message: str) -> None:
    problem = only(text)
    assert problem.field == f"downstairs.yaml (line {line})"
    assert message in problem.message
    assert problem.hint


def test_aliases_that_explode_are_refused_and_ordinary_ones_work() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert f"over {MAXIMUM_NODES} values" in only(bomb).message
    merged = GOOD.replace("  - name: small\n", "  - &base\n    name: small\n") + "description: ok\n"
    merged = merged.replace("  - name: large\n    cores: 8\n", "  - <<: *base\n    name: large\n")
    definition = parse(merged).definition
    assert definition is not None
    assert (definition.profiles[1].cores, definition.profiles[1].walltime_s) == (1, 7200)


def test_keys_that_yaml_reads_as_something_else_are_still_names() -> None:
    assert only(GOOD + "on: 1\n").message == "There is no field 'on' here."


def test_encoding_and_size_and_access(tmp_path: Path) -> None:
    path = tmp_path / "downstairs.yaml"
    path.write_bytes(b"title: ok\nbackend: \xff\n")
    (problem,) = read_site_file(path).problems
    assert (problem.field, problem.hint) == ("downstairs.yaml (line 2)", "Save it in the encoding UTF-8.")
    path.write_bytes(b"#" * (MAXIMUM_BYTES + 1))
    assert "1 MiB" in read_site_file(path).problems[0].message
    path.unlink()
    path.mkdir()
    assert "cannot be read" in read_site_file(path).problems[0].message
    path.rmdir()
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())  # with a byte-order mark, as some editors leave it
    assert read_site_file(path).problems == []
    if os.getuid() != 0:
        path.chmod(0)
        assert "chmod" in (read_site_file(path).problems[0].hint or "")


def test_problems_found_later_get_their_line_too() -> None:
    file = parse(GOOD)
    found = file.with_line(FieldProblem(field="options.system", message="no"))
    assert found.field == "options.system (line 15)"
    assert file.with_line(FieldProblem(field="nowhere", message="no")).field == "nowhere"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="abn:- \n{}[]&*!?|>'\"#%@`\t0x1e", max_size=120).map(str.encode))
def test_no_content_breaks_the_reader(content: bytes) -> None:
    file = parse_site_file(Path("any.yaml"), content)
    assert (file.definition is None) == bool(file.problems)
    assert all(p.field and p.message for p in file.problems)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(st.integers() | st.text("abc", max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=8)
)
def test_data_is_what_yaml_says(value: object) -> None:
    import yaml

    text = yaml.safe_dump({"k": value})
    assert load_yaml(text.encode(), "any").data == yaml.safe_load(text)


def test_field_names() -> None:
    assert field_name(("profiles", 1, "accelerators", 0, "count")) == "profiles[1].accelerators[0].count"
