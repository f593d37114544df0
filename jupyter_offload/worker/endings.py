"""Why a worker at a site ended, in its own last words: an exit code for machines and a line in its log for everybody.

The line is ``offload-end: {"code": ..., "message": ..., "hint": ...}``, the last that a worker writes to its standard output when
it fails. Sites lose either: some tell only that a container failed, some keep no log. So each says the code, and either will do.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import NoReturn

VERSION_MISMATCH = "version-mismatch"
FILES_MISSING = "files-missing"
NOT_CONNECTED = "not-connected"
IMAGE_FAILED = "image-failed"
RELAY_UNREACHABLE = "relay-unreachable"

#: Clear of what shells (1, 2, 126 and more) and signals (128 and more) use.
EXIT_CODES = {VERSION_MISMATCH: 64, FILES_MISSING: 65, NOT_CONNECTED: 66, IMAGE_FAILED: 67, RELAY_UNREACHABLE: 68}
MARK = "offload-end: "
#: For a site that tells the exit code alone.
_SENTENCES = {
    VERSION_MISMATCH: ("The worker's versions do not fit the scheduler's.", "Choose an image or a kernel that fits."),
    FILES_MISSING: ("Files that came with the worker were missing at the site.", "Ask the site about volumes of pods."),
    NOT_CONNECTED: ("The worker ran, but could not join the scheduler.", "Read its log."),
    IMAGE_FAILED: (
        "The image cannot run a Dask worker.",
        "Install distributed in it: python3 -m pip install distributed",
    ),
    RELAY_UNREACHABLE: (
        "The worker could not reach the relay from the site.",
        "Ask the site to let it dial the relay.",
    ),
}
#: What Python says of a file that is not there, is empty, or was cut.
_NO_BUNDLE = re.compile(
    r"can't open file '[^']*worker\.pyz'|SyntaxError: .* in file .*worker\.pyz|'__main__' .*worker\.pyz"
)
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # POSIX shells, and container runtimes likewise
_WHICH_PYTHON = "Name the Python of this image in the site file, or choose another image."
_LONGEST = 2000


@dataclass(frozen=True)
class Ending:
    """Why a worker ended; ``code`` is one of ``EXIT_CODES``."""

    code: str
    message: str
    hint: str | None = None


class Ended(Exception):
    """The worker cannot go on."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.ending = Ending(code, message, hint)


def say(text: str) -> None:
    """Write a line for those who read the log."""
    print(f"offload: {text}", flush=True)


def line_of(ending: Ending) -> str:
    """Return the last line of a worker that ends so."""
    told = {"code": ending.code, "message": ending.message[:_LONGEST], "hint": ending.hint}
    return MARK + json.dumps(told)


def end(ending: Ending) -> NoReturn:
    """Say the last words and leave."""
    sys.stderr.flush()
    print(line_of(ending), flush=True)
    sys.exit(EXIT_CODES[ending.code])


def ending_of(exit_code: int | None, log_tail: str) -> Ending | None:
    """Return why a worker ended, from what the site shows of it; None when it said nothing.

    Args:
        exit_code: of its process or container; None where the site does not tell.
        log_tail: the end of its log. Tasks write there too, so an exit code of ours has the last word.
    """
    if exit_code == 0:
        return None
    by_exit = {number: code for code, number in EXIT_CODES.items()}.get(exit_code) if exit_code is not None else None
    for line in reversed(log_tail.splitlines()):
        said = _parsed(line)
        if said is not None and by_exit in (None, said.code):
            return said
    if by_exit is not None:
        return Ending(by_exit, *_SENTENCES[by_exit])
    return _unsaid(exit_code, log_tail)


def _unsaid(exit_code: int | None, log_tail: str) -> Ending | None:
    """Return why a worker ended that could not even begin: what Python, or the shell instead of it, says then."""
    if _NO_BUNDLE.search(log_tail):
        return Ending(FILES_MISSING, *_SENTENCES[FILES_MISSING])
    if exit_code in (_CANNOT_EXECUTE, _NOT_FOUND):
        return Ending(IMAGE_FAILED, "The image has no such Python as the site is told to run.", _WHICH_PYTHON)
    return None


def _parsed(line: str) -> Ending | None:
    _, mark, text = line.partition(MARK)  # the site may put a time before it
    if not mark:
        return None
    try:
        told = json.loads(text)
        code, message, hint = told["code"], told["message"], told.get("hint")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    texts = isinstance(code, str) and isinstance(message, str) and (hint is None or isinstance(hint, str))
    if not texts or code not in EXIT_CODES:
        return None
    return Ending(code, message[:_LONGEST], hint[:_LONGEST] if hint else None)
