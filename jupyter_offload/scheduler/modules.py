"""The extra modules a user wants imported before anything runs."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable

log = logging.getLogger("offload.modules")


def import_modules(names: Iterable[str]) -> dict[str, str]:
    """Import each module; return those that failed with the reason and the remedy.

    A module that fails does not end the process: work that does not need it goes on, work that does fails by name.
    """
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a module may raise anything
            log.exception("Cannot import the extra module %s", name)
            failed[name] = (
                f"{type(error).__name__}: {error}. Install what provides it for {sys.executable}, or take it off the list."
            )
    return failed
