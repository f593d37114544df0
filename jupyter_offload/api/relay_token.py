"""The token that the facility's relay asks for, where the Jupyter session has it in an environment variable.

A session gets a new one with each start of its server, and the keeper outlives servers. So every door hands over the one it
has, through a 0600 file in the keeper's private folder, and the keeper reads it anew for each use. It is in the environment of
nothing that the keeper starts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from . import locations

_LARGEST_FILE = 1 << 20


def variable_name() -> str | None:
    """Return the variable that ``relay.yaml`` names, None where there is none or the file cannot be read."""
    for path in locations.relay_files():
        try:
            with path.open("rb") as stream:
                content = stream.read(_LARGEST_FILE)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return _named_in(content)
    return None


def _named_in(content: bytes) -> str | None:
    import yaml  # only where a facility has a relay

    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return None  # the keeper says what is wrong with it
    identity = document.get("identity") if isinstance(document, Mapping) else None
    name = identity.get("token_variable") if isinstance(identity, Mapping) else None
    return name if isinstance(name, str) else None


def hand_over() -> None:
    """Give the keeper the token of this session, if there is one to give. Best effort: without it the card tells."""
    name = variable_name()
    token = os.environ.get(name, "") if name else ""
    if not token:
        return
    keep(token)


def keep(token: str) -> None:
    """Put a token where the keeper of this host reads it. Best effort."""
    path = locations.relay_token_path()
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        if path.exists() and path.read_text(encoding="utf-8") == token:
            return
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(token)
        part.replace(path)
