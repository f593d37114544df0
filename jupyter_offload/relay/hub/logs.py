"""The relay's log: one JSON object a line on stderr. Events have fields; there is no payload and no token to be found."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

_ORDINARY = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record with its own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {k: v for k, v in vars(record).items() if k not in _ORDINARY}
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        if "event" not in fields:
            line |= {"event": "message", "logger": record.name, "message": record.getMessage()}
        line |= fields
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(level: str) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # what others say in every request, and asyncio of every connection that was reset
    for chatty in ("httpx", "httpcore", "tornado.access", "tornado.general", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
