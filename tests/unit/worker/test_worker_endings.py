"""Last words, read from whatever a site shows of them."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import ReasonCode
from jupyter_offload.worker.endings import EXIT_CODES, Ended, Ending, end, ending_of, line_of

SAID = Ending("version-mismatch", "The image has Python 3.9.", "Choose another image.")


def test_codes_are_reason_codes_and_each_has_a_status_of_its_own() -> None:
    assert set(EXIT_CODES) <= {code.value for code in ReasonCode}
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES) and all(64 <= n < 80 for n in EXIT_CODES.values())


@pytest.mark.parametrize("exit_code", [None, 1, 64, 139])
@pytest.mark.parametrize("before", ["", "offload: hello\n", "2026-11-27T10:00:00Z stdout F "])
def test_the_line_is_enough(exit_code: int | None, before: str) -> None:
    assert ending_of(exit_code, before + line_of(SAID) + "\n\n") == SAID


@pytest.mark.parametrize("code", EXIT_CODES)
def test_the_status_is_enough(code: str) -> None:
    said = ending_of(EXIT_CODES[code], "")
    assert said is not None and said.code == code and said.message and said.hint


def test_a_task_cannot_speak_for_the_worker() -> None:
    said = ending_of(EXIT_CODES["not-connected"], line_of(SAID))
    assert said is not None and said.code == "not-connected"
    assert ending_of(0, line_of(SAID)) is None, "it ended well"


@pytest.mark.parametrize(
    "line",
    ["offload-end: ", "offload-end: {", "offload-end: []", 'offload-end: {"code": "version-mismatch"}', "nothing",
     'offload-end: {"code": "site-queued", "message": "x"}', 'offload-end: {"code": [], "message": "x"}',
     'offload-end: {"code": "not-connected", "message": 3}'],
)  # fmt: skip
def test_what_is_no_ending_is_none(line: str) -> None:
    assert ending_of(None, line) is None
    assert ending_of(137, line) is None


def test_the_last_of_several_counts_and_long_ones_are_cut() -> None:
    long = Ending("not-connected", "x" * 9000)
    found = ending_of(None, f"{line_of(SAID)}\n{line_of(long)}")
    assert found is not None and found.code == "not-connected" and len(found.message) == 2000


@pytest.mark.parametrize(
    ("exit_code", "log", "code"),
    [
        (2, "python3: can't open file '/run/offload/worker.pyz': [Errno 2] No such file or directory", "files-missing"),
        (
            None,
            "/usr/bin/python3: can't open file '/run/offload/worker.pyz': [Errno 13] Permission denied",
            "files-missing",
        ),
        (
            1,
            "SyntaxError: Non-UTF-8 code starting with '\\xf0' in file /run/offload/worker.pyz on line 1",
            "files-missing",
        ),
        (127, "sh: 1: python3.12: not found", "image-failed"),
        (126, "", "image-failed"),
    ],
)
def test_a_worker_that_could_not_begin(exit_code: int | None, log: str, code: str) -> None:
    said = ending_of(exit_code, log)
    assert said is not None and said.code == code and said.hint


@pytest.mark.parametrize("exit_code", [None, 0, 1, 2, 137, 143])
def test_what_the_site_did_is_not_ours_to_explain(exit_code: int | None) -> None:
    assert ending_of(exit_code, "Killed\n") is None


def test_the_end_is_the_line_and_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        end(Ended("image-failed", "No distributed.").ending)
    assert left.value.code == EXIT_CODES["image-failed"]
    assert ending_of(None, capsys.readouterr().out) == Ending("image-failed", "No distributed.")
