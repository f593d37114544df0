"""The configuration of the relay that the keeper itself runs (``docs/how-to/run-a-relay.md`` has all of its settings)."""

from __future__ import annotations

import json
import os
from pathlib import Path

LONGEST_LEASE_S = 7 * 86400
#: For one user there is nobody to be fair to; the keeper's own limits of clusters and workers count.
_ENOUGH = 1_000_000


def hub_configuration(folder: Path, socket: Path, domain: str, bind: str, port: int) -> str:
    """Return the file's text, which as JSON is YAML too: one user, admitted by his own unix socket.

    Args:
        folder: with the certificate ``relay.pem``; leases are kept below it.
        socket: where this user is admitted.
        domain: the name in the certificate.
        bind: address of this host to listen on.
        port: the one port.
    """
    document = {
        "domain": domain,
        "certificate_file": str(folder / "relay.pem"),
        "state_dir": str(folder / "state"),
        "listen": {"host": bind, "port": port},
        "unix_socket": {"path": str(socket), "mode": "0600"},
        "identities": [{"type": "unix", "allow": [os.getuid()]}],
        "quota": {"clusters": _ENOUGH, "peers": _ENOUGH, "connections": _ENOUGH},
        "longest_lease_s": LONGEST_LEASE_S,
        "drain_s": 0,  # it ends when nobody needs it
    }
    return json.dumps(document, indent=1)
