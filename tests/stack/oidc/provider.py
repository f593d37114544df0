"""A provider as a process of its own."""

from __future__ import annotations

import base64
import json
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..processes import Processes
from .programs import HERE, build, modules

#: What its tokens are for where nothing else is asked for.
AUDIENCE = "https://relay.test"
#: Groups by client.
CLIENTS: dict[str, list[str]] = {"alice": ["users", "dask"], "bob": [], "hasty": ["dask"]}
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 10
_NAME = "oidc"


def _base64(number: int, bytes_: int | None = None) -> str:
    content = number.to_bytes(bytes_ or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def make_key(name: str, algorithm: str = "RS256") -> dict[str, Any]:
    """Return a new private key as a JSON web key."""
    shared = {"kid": name, "alg": algorithm, "use": "sig"}
    if algorithm == "ES256":
        curve = ec.generate_private_key(ec.SECP256R1()).private_numbers()
        point = curve.public_numbers
        return shared | {
            "kty": "EC", "crv": "P-256", "d": _base64(curve.private_value, 32),
            "x": _base64(point.x, 32), "y": _base64(point.y, 32),
        }  # fmt: skip
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    return shared | {
        "kty": "RSA", "n": _base64(made.public_numbers.n), "e": _base64(made.public_numbers.e), "d": _base64(made.d),
        "p": _base64(made.p), "q": _base64(made.q), "dp": _base64(made.dmp1), "dq": _base64(made.dmq1),
        "qi": _base64(made.iqmp),
    }  # fmt: skip


@dataclass
class Provider:
    """A provider with the clients ``alice`` of the group ``dask``, ``bob`` of none, and ``hasty``, whose tokens last a second.

    ``keys`` are used from the next start on; the first one signs.
    """

    folder: Path
    keys: list[dict[str, Any]] = field(default_factory=lambda: [make_key("first")])
    port: int = field(default_factory=lambda: _free_port())

    def __post_init__(self) -> None:
        build()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._processes = Processes(self.folder)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        clients = [{"id": name, "secret": f"secret-of-{name}", "groups": groups} for name, groups in CLIENTS.items()]
        config = self.folder / "config.json"
        config.touch(mode=0o600)
        said = {
            "port": self.port,
            "keys": self.keys,
            "audience": AUDIENCE,
            "clients": clients,
            "modules": str(modules()),
        }
        config.write_text(json.dumps(said))
        self._processes.start(_NAME, ["node", str(HERE / "server.mjs"), str(config)])
        self._processes.wait_until(_NAME, self._answers, _START_TIMEOUT_S)

    def stop(self) -> None:
        """End it."""
        self._processes.stop([_NAME], _STOP_TIMEOUT_S)

    def token(self, client: str, audience: str | None = None) -> str:
        """Return a new token of a client."""
        said = {"grant_type": "client_credentials"} | ({"resource": audience} if audience else {})
        answer = httpx.post(
            f"{self.issuer}/token", data=said, auth=(client, f"secret-of-{client}"), timeout=30, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def runs(self) -> bool:
        """Whether it is there and answers."""
        return self._processes.find(_NAME) is not None and self._answers()

    def _answers(self) -> bool:
        try:
            found = httpx.get(f"{self.issuer}/.well-known/openid-configuration", timeout=5, trust_env=False)
        except httpx.TransportError:
            return False
        return found.status_code == 200


def up(folder: Path) -> dict[str, Any]:
    """Start one that does not run, and say how to reach it.

    Raises:
        DidNotStart: it ended, or was not ready in time.
    """
    known = folder / "stack.json"
    if known.exists():
        answer: dict[str, Any] = json.loads(known.read_text())
        if Provider(folder, [], answer["port"]).runs():
            return answer
    down(folder)
    provider = Provider(folder)
    provider.start()
    answer = {
        "part": "oidc", "issuer": provider.issuer, "audience": AUDIENCE, "port": provider.port,
        "clients": {name: f"secret-of-{name}" for name in CLIENTS},
    }  # fmt: skip
    known.write_text(json.dumps(answer))
    return answer


def down(folder: Path) -> None:
    """End it and remove the folder. Nothing there is no error."""
    if folder.exists():
        Processes(folder).stop([_NAME], _STOP_TIMEOUT_S)
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
