"""A hub and two sites, each in a network namespace, with a line from each site to the hub. Every port is open."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .namespaces import Namespace, command

SITES = 2
HUB_ADDRESS = "10.79.0.1"
_numbers = itertools.count()


@dataclass(frozen=True)
class Network:
    """Namespaces that reach each other, sites through the hub."""

    hub: Namespace
    sites: tuple[Namespace, ...]

    @staticmethod
    def site_address(number: int) -> str:
        """Return the address of a site."""
        return f"10.79.{number + 1}.2"


@contextmanager
def network(round_trip_s: float, environment: Mapping[str, str]) -> Iterator[Network]:
    """Yield a network whose lines add so many seconds to each round trip between the hub and a site.

    Args:
        round_trip_s: 0 is a veth pair; more, a process for each line (``line.py``), started with ``environment``.

    Raises:
        RuntimeError: this process may not make namespaces, or a program is missing.
    """
    prefix = f"offload-bench-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as stack:
        names = [f"{prefix}-{name}" for name in ("hub", *(f"site{number}" for number in range(SITES)))]
        spaces = []
        for name in names:
            spaces.append(Namespace(name))
            stack.callback(spaces[-1].remove)
        made = Network(spaces[0], tuple(spaces[1:]))
        made.hub.ip("address", "add", f"{HUB_ADDRESS}/32", "dev", "lo")
        command(*made.hub.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
        for number, site in enumerate(made.sites):
            device = f"site{number}"
            if round_trip_s:
                stack.enter_context(_line(made.hub.name, device, site.name, round_trip_s / 2, environment))
            else:
                command("ip", "link", "add", device, "netns", made.hub.name, "type", "veth",
                        "peer", "name", "hub", "netns", site.name)  # fmt: skip
            _address(made.hub, device, f"10.79.{number + 1}.1/24")
            _address(site, "hub", f"{made.site_address(number)}/24")
            site.ip("route", "add", "default", "via", f"10.79.{number + 1}.1")
        yield made


def _address(where: Namespace, device: str, address: str) -> None:
    where.ip("address", "add", address, "dev", device)
    # A queue that drops packets would be another network than the one that was asked for.
    where.ip("link", "set", "dev", device, "up", "txqueuelen", "10000")


@contextmanager
def _line(hub: str, device: str, site: str, delay_s: float, environment: Mapping[str, str]) -> Iterator[None]:
    words = [sys.executable, "-m", "benchmarks.relay.line", f"{hub}:{device}", f"{site}:hub", str(delay_s)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=dict(environment))
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise RuntimeError("a line with delay cannot be made; it needs /dev/net/tun")
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
