"""Who we are to the facility's relay: a token, read each time it is used, since sessions get new ones."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...api import locations
from .problems import refused
from .settings import Identity


def read_token(identity: Identity | None) -> str | None:
    """Return the token of now; None where the relay asks for none. Blocking.

    Raises:
        RelayProblem: there is none, or others could read it.
    """
    if identity is None:
        return None
    if identity.token_file is not None:
        return _from_file(Path(identity.token_file))
    try:
        return locations.relay_token_path().read_text(encoding="utf-8").strip()
    except OSError as error:
        name = identity.token_variable
        raise refused(
            f"The relay asks who you are, and no session has handed over its {name}.",
            f"Open JupyterLab in a session that has {name} in its environment, such as one that a Hub started.",
        ) from error


def _from_file(path: Path) -> str:
    try:
        seen = path.stat()
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise refused(
            f"The relay asks who you are, and the token in {path} cannot be read: {why}.",
            "Put the token there, or name another token_file in relay.yaml.",
        ) from error
    if seen.st_uid == os.getuid() and stat.S_IMODE(seen.st_mode) & 0o077:
        raise refused(f"The token in {path} can be read by others.", f"Close it: chmod 600 {path}")
    if not token:
        raise refused(f"The token file {path} is empty.", "Put the token there.")
    return token
