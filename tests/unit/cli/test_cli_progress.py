"""Progress of a wait, on a terminal and in a file."""

import sys

from jupyter_offload.api.models import Cluster, Reason
from jupyter_offload.cli.output import Output


def cluster(**values):
    then = "2026-01-02T03:04:05Z"
    return Cluster.model_validate(
        {"id": "abc123", "name": "zmumu", "spec": {"name": "zmumu"}, "site_title": "Here", "owner": "me", "host": "here",
         "profile": {"name": "small", "cores": 1, "memory_bytes": "2 GiB"}, "desired": "running", "phase": "running",
         "phase_since": then, "reason": {"code": "all-workers", "message": "All workers are here."}, "created_at": then,
         "revision": 7, "workers": {"requested": 2, "connected": 2}} | values
    )  # fmt: skip


def test_a_file_gets_one_line_for_each_change_after_a_second(capsys):
    output = Output(as_json=False)
    starting = cluster(phase="starting", workers={"requested": 2, "connected": 0})
    for elapsed_s in (0.2, 1.1, 2.1, 3.1):
        output.progress(starting, elapsed_s)
    output.progress(starting.model_copy(update={"reason": Reason(code="some-workers", message="One is here.")}), 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "zmumu: starting, 0 of 2 workers, 1 s. All workers are here.",
        "zmumu: starting, 0 of 2 workers, 4 s. One is here.",
    ]


def test_a_terminal_gets_one_line_that_is_taken_away(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    output = Output(as_json=False)
    output.progress(cluster(), 2)
    output.progress(cluster(), 3)
    output.line("done")
    captured = capsys.readouterr()
    assert captured.err.count("\r") == 4 and "\n" not in captured.err
    assert captured.err.rstrip("\r").rsplit("\r", 1)[1].strip() == ""
    assert captured.out == "done\n"


def test_json_is_silent(capsys):
    output = Output(as_json=True)
    output.progress(cluster(), 30)
    output.note("something")
    assert capsys.readouterr() == ("", "")
