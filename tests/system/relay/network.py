"""A hub and sites that are really apart: network namespaces, and walls between them that let through one port.

A site may dial the relay's address and port at the hub and nothing else; nothing can dial a site. Everything here has names
of its own, so several suites can run on one machine, and what a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.stack.network import (
    SITE_WALL,
    Namespace,
    NotPermitted,
    check_permitted,
    command,
    door,
    new_prefix,
    remove_leftovers,
)

__all__ = ["RELAY_ADDRESS", "RELAY_PORT", "Namespace", "Network", "NotPermitted", "command"]

RELAY_ADDRESS, RELAY_PORT = "10.78.0.1", 8443
_TIMEOUT_S = 20
_ROOT = Path(__file__).parents[3]

_HUB_WALL = """
table inet wall {{
  set doors {{ type ipv4_addr . inet_service; elements = {{ {door} }} }}
  set cut {{ type ifname; }}
  counter strays {{ }}
  chain incoming {{
    type filter hook input priority 0; policy drop;
    iifname @cut drop
    iif lo accept
    ip daddr . tcp dport @doors accept
    ct state established,related accept
    counter name strays
  }}
}}
"""


class Network:
    """A hub, sites, and a link from each site to the hub.

    Args:
        sites: how many.
        delay_s: how long each packet is under way on a link.

    Raises:
        NotPermitted: this process may not make such things.
        RuntimeError: ip or nft failed.
    """

    def __init__(self, sites: int = 2, delay_s: float = 0) -> None:
        check_permitted()
        remove_leftovers()
        self._prefix = new_prefix()
        self.sites: list[Namespace] = []
        self._delay_s = delay_s
        self._lines: list[subprocess.Popen[bytes]] = []
        self.hub = Namespace(f"{self._prefix}hub")
        try:
            command("ip", "-n", self.hub.name, "address", "add", f"{RELAY_ADDRESS}/32", "dev", "lo")
            self.hub.wall(_HUB_WALL.format(door=door(RELAY_ADDRESS, RELAY_PORT)))
            for number in range(sites):
                self._add_site(number)
        except BaseException:
            self.remove()
            raise

    def _add_site(self, number: int) -> None:
        site = Namespace(f"{self._prefix}site{number}")
        self.sites.append(site)
        link = f"site{number}"
        if self._delay_s:
            self._add_line(link, site)
        else:
            command(*f"ip link add {link} netns {self.hub.name} type veth peer name hub netns {site.name}".split())
        for namespace, device, address in (
            (self.hub, link, f"10.78.{number + 1}.1/24"),
            (site, "hub", f"{self.site_address(number)}/24"),
        ):
            command("ip", "-n", namespace.name, "address", "add", address, "dev", device)
            command("ip", "-n", namespace.name, "link", "set", device, "up")
        site.wall(SITE_WALL.format(elements=f"elements = {{ {door(RELAY_ADDRESS, RELAY_PORT)} }} "))
        command("ip", "-n", site.name, "route", "add", f"{RELAY_ADDRESS}/32", "via", f"10.78.{number + 1}.1")

    def _add_line(self, link: str, site: Namespace) -> None:
        """Not every kernel has ``tc netem``, so a process carries the packets."""
        words = [f"{self.hub.name}:{link}", f"{site.name}:hub", str(self._delay_s)]
        line = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.relay.line", *words], cwd=_ROOT, stdout=subprocess.PIPE
        )
        self._lines.append(line)
        assert line.stdout is not None
        assert line.stdout.readline() == b"ready\n"

    @staticmethod
    def site_address(number: int) -> str:
        """Return the address of a site; that of the hub on the same link ends in 1."""
        return f"10.78.{number + 1}.2"

    def add_address(self, address: str) -> None:
        """Give the hub one more address, which sites have a route to."""
        command("ip", "-n", self.hub.name, "address", "add", f"{address}/32", "dev", "lo")
        for number, site in enumerate(self.sites):
            command("ip", "-n", site.name, "route", "add", f"{address}/32", "via", f"10.78.{number + 1}.1")

    @contextlib.contextmanager
    def door(self, address: str, port: int) -> Iterator[None]:
        """Let sites dial one more port of the hub, as long as this lasts."""
        everywhere = (self.hub, *self.sites)
        for namespace in everywhere:
            namespace.wall(f"add element inet wall doors {{ {door(address, port)} }}")
        try:
            yield
        finally:
            for namespace in everywhere:
                namespace.wall(f"delete element inet wall doors {{ {door(address, port)} }}")

    @contextlib.contextmanager
    def opened(self, number: int) -> Iterator[None]:
        """Let anybody dial a site, as long as this lasts."""
        policy = "add chain inet wall incoming {{ policy {}; }}"
        self.sites[number].wall(policy.format("accept"))
        try:
            yield
        finally:
            self.sites[number].wall(policy.format("drop"))

    @contextlib.contextmanager
    def cut(self, number: int) -> Iterator[None]:
        """Let nothing arrive on a site's link, either way and without a word, as long as this lasts."""
        ends = ((self.hub, f"site{number}"), (self.sites[number], "hub"))
        for namespace, device in ends:
            namespace.wall(f'add element inet wall cut {{ "{device}" }}')
        try:
            yield
        finally:
            for namespace, device in ends:
                namespace.wall(f'delete element inet wall cut {{ "{device}" }}')

    def strays(self) -> int:
        """Return how many packets came to the hub that were for none of its doors."""
        shown = command("ip", "netns", "exec", self.hub.name, "nft", "list", "counter", "inet", "wall", "strays")
        found = re.search(r"packets (\d+)", shown)
        assert found is not None, shown
        return int(found[1])

    def remove(self) -> None:
        """End everything that runs in these namespaces, and them."""
        for namespace in (*self.sites, self.hub):
            namespace.remove()
        for line in self._lines:
            line.kill()
            line.wait(_TIMEOUT_S)
            assert line.stdout is not None
            line.stdout.close()
