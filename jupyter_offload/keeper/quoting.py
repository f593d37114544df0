"""What a process said of its own end, for a card: one line that keeps the cause. The timeline has all of it."""

from __future__ import annotations

import re

from ..api.text import one_line

QUOTE_LENGTH = 200
_TAIL = re.compile(r"\s*Its log ends with:\n")
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)\b")


def brief(message: str) -> str:
    """Return a message on one line; of a log's end that it quotes the line that says most, shortened."""
    said, *tail = _TAIL.split(message, maxsplit=1)
    last = shortened(_telling_line(tail[0])) if tail else ""
    return f"{one_line(said)} Its log ends with: {last}" if last else one_line(said)


def shortened(text: str) -> str:
    """Return one line of at most ``QUOTE_LENGTH`` characters."""
    line = one_line(text)
    return line if len(line) <= QUOTE_LENGTH else line[: QUOTE_LENGTH - 1].rstrip() + "…"


def _telling_line(tail: str) -> str:
    """Return the last line that names an exception, else the last one with a word in it."""
    lines = [line.strip() for line in reversed(tail.splitlines())]
    named = (line for line in lines if _EXCEPTION.match(line))
    worded = (line for line in lines if re.search(r"\w", line))
    return next(named, None) or next(worded, "")
