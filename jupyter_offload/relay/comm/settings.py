"""What a Dask process must know to use a relay: Dask's own configuration, below ``relay``.

As a YAML file of Dask, or as variables such as ``DASK_RELAY__ADDRESSES=relay.example.org:443``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.config
from dask.utils import parse_bytes, parse_timedelta

DEFAULTS: dict[str, Any] = {
    "relay": {
        # host:port of the relay, or several; each name may stand for several relays, and all of them are used
        "addresses": [],
        # the name in the relay's certificate, below which peers are named; null = the host of the first address
        "domain": None,
        # whom to trust for the relay's certificate; null = the system's authorities
        "ca-file": None,
        # how a listener without a usable name of its own is called; a trailing dash adds something random
        "name": None,
        # how long connections to the scheduler survive without the relay or the network; 0 = not at all
        "resume": "60s",
        # what one such connection keeps for sending again, and what all of a process keep together
        "window": "16 MiB",
        "memory": "256 MiB",
    },
    # A transfer between workers breaks when the relay goes; the data is still there, so ask again.
    "distributed": {"comm": {"retry": {"count": 2}}},
}


class BadSettings(ValueError):
    """A setting of the relay is missing or wrong; the message names it, its value and the remedy."""


@dataclass(frozen=True)
class Settings:
    """The settings of now."""

    addresses: tuple[tuple[str, int], ...]
    domain: str
    ca_file: str | None
    name: str | None
    resume_s: float
    window_bytes: int
    memory_bytes: int


def settings() -> Settings:
    """Read Dask's configuration.

    Raises:
        BadSettings: something is missing or wrong.
    """
    addresses = tuple(_address(one) for one in _listed(dask.config.get("relay.addresses", [])))
    if not addresses:
        raise BadSettings(
            "relay:// needs to know where the relay is. Set relay.addresses in Dask's configuration, for example"
            " DASK_RELAY__ADDRESSES=relay.example.org:443"
        )
    domain = dask.config.get("relay.domain", None) or addresses[0][0]
    return Settings(
        addresses=addresses,
        domain=str(domain).lower().rstrip("."),
        ca_file=dask.config.get("relay.ca-file", None) or None,
        name=dask.config.get("relay.name", None) or None,
        resume_s=_number("resume", parse_timedelta),
        window_bytes=int(_number("window", parse_bytes)),
        memory_bytes=int(_number("memory", parse_bytes)),
    )


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [str(part) for part in value or ()]


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadSettings(f"relay.addresses {text!r} is not host:port. Write it like relay.example.org:443")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _number(key: str, parse: Any) -> float:
    value = dask.config.get(f"relay.{key}", DEFAULTS["relay"][key])
    try:
        number = float(parse(value))
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # as Dask's parsers have it
        example = DEFAULTS["relay"][key]
        raise BadSettings(f"relay.{key} {value!r} is not understood. Write it like {example!r}") from error
    if number < 0:
        raise BadSettings(f"relay.{key} {value!r} is negative. Write it like {DEFAULTS['relay'][key]!r}")
    return number
