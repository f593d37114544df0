"""Usage: every command has help, mistakes end with status 2 and a remedy, and --help loads nothing."""

import json
import subprocess
import sys

import pytest

from jupyter_offload.cli import main, parser

COMMANDS = [
    "sites list", "sites check", "clusters list", "clusters new", "clusters show", "clusters scale", "clusters adapt",
    "clusters extend", "clusters logs", "clusters timeline", "clusters stop", "clusters forget", "environments list",
    "doctor", "version",
]  # fmt: skip


@pytest.mark.parametrize("command", ["", "sites", "clusters", "environments", *COMMANDS])
def test_help_everywhere(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([*command.split(), "--help"])
    assert done.value.code == 0
    assert f"usage: jupyter offload {command}".strip() in " ".join(capsys.readouterr().out.split())


def test_help_loads_only_the_standard_library():
    code = "import sys; from jupyter_offload.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert not {"pydantic", "httpx", "asyncio", "jupyter_core", "distributed"} & set(out.split())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "COMMAND"),
        ("clusters", "COMMAND"),
        ("clusters bogus", "bogus"),
        ("clusters new", "NAME"),
        ("clusters new z --workers two", "--workers"),
        ("clusters new z --adaptive 5", "write for example 0:10"),
        ("clusters new z --adaptive a:b", "write for example 0:10"),
        ("clusters new z --env FOO", "write for example OMP_NUM_THREADS=1"),
        ("clusters scale z", "N"),
        ("clusters scale z many", "many"),
        ("clusters adapt z 3", "write for example 0:10"),
    ],
)
def test_usage_errors_are_status_2_with_the_way_to_help(line, says, capsys):
    with pytest.raises(SystemExit) as done:
        main(line.split())
    assert done.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("Error: ") and says in first
    assert second.strip().startswith("See: jupyter offload") and second.endswith("--help")


@pytest.mark.parametrize("line", ["clusters new --json", "--json clusters new", "clusters --json new"])
def test_usage_errors_are_problem_documents_with_json(line, capsys):
    from jupyter_offload.api.models import ProblemDocument

    with pytest.raises(SystemExit) as done:
        main(line.split())
    assert done.value.code == 2
    problem = ProblemDocument.model_validate_json(capsys.readouterr().err)
    assert problem.code == "invalid" and "NAME" in problem.detail and problem.hint


def test_json_is_taken_at_any_place():
    for line in ("--json sites list", "sites --json list", "sites list --json"):
        assert parser.build().parse_args(line.split()).json is True


def test_version_needs_no_keeper(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    assert main(["version"]) == 0
    assert "API 1" in capsys.readouterr().out
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["api"] == 1
    assert not (tmp_path / "data").exists()
