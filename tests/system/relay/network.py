"""A hub and sites that are really apart: network namespaces, and walls between them that let through one port.

A site may dial the relay's address and port at the hub and nothing else; nothing can dial a site. Everything here has names
of its own, so several suites can run on one machine, and what a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

RELAY_ADDRESS, RELAY_PORT = "10.78.0.1", 8443
_TIMEOUT_S = 20
#: Of what is here, `ip netns exec` shows each namespace its own part in /etc.
_NAMES = Path("/etc/netns")
_ROOT = Path(__file__).parents[3]
_CLONE_NEWNET = 0x40000000
_LISTENING = "0A"
_OURS = re.compile(r"offload-(\d+)-\w+\Z")
_libc = ctypes.CDLL(None, use_errno=True)
_serial = iter(range(1 << 30))

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
_SITE_WALL = """
table inet wall {{
  set doors {{ type ipv4_addr . inet_service; elements = {{ {door} }} }}
  set cut {{ type ifname; }}
  chain incoming {{
    type filter hook input priority 0; policy drop;
    iifname @cut drop
    iif lo accept
    ct state established,related accept
  }}
  chain outgoing {{
    type filter hook output priority 0; policy drop;
    oif lo accept
    ip daddr . tcp dport @doors accept
    ct state established accept
    meta l4proto tcp reject with tcp reset
    reject
  }}
}}
"""


class NotPermitted(RuntimeError):
    """This process may not make network namespaces; the message says why and what would help."""


def command(*words: str, stdin: str = "") -> str:
    """Run a program and return what it printed.

    Raises:
        RuntimeError: it failed; the message has what it said.
    """
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Namespace:
    """One network namespace.

    Args:
        name: unique on this machine.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        command("ip", "netns", "add", name)
        command("ip", "-n", name, "link", "set", "lo", "up")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread here, with the sockets, threads and processes that it begins meanwhile."""
        before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_namespace(there)
            try:
                yield
            finally:
                _set_namespace(before)
        finally:
            os.close(there)
            os.close(before)

    def wall(self, rules: str) -> str:
        """Give rules to nft."""
        return command("ip", "netns", "exec", self.name, "nft", "-f", "-", stdin=rules)

    def listener(self, address: str, port: int = 0) -> socket.socket:
        """Return a socket that listens here."""
        with self.entered():
            return socket.create_server((address, port))

    def names(self, hosts: str) -> None:
        """Set the file of host names for what is started here from now on."""
        (_NAMES / self.name).mkdir(parents=True, exist_ok=True)
        (_NAMES / self.name / "hosts").write_text(hosts)

    def reaches(self, address: str, port: int, timeout_s: float = 1) -> bool:
        """Whether a TCP connection from here succeeds."""
        with self.entered(), contextlib.suppress(OSError):
            socket.create_connection((address, port), timeout=timeout_s).close()
            return True
        return False

    def processes(self) -> list[psutil.Process]:
        """Return the processes that run here."""
        found = []
        for pid in command("ip", "netns", "pids", self.name).split():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found

    def listening(self, address: str, port: int) -> list[int]:
        """Return the ids of the processes here that hold a socket listening there."""
        with self.entered():
            table = Path(f"/proc/self/task/{threading.get_native_id()}/net/tcp").read_text()
        where = f"{socket.inet_aton(address)[::-1].hex().upper()}:{port:04X}"
        rows = [line.split() for line in table.splitlines()[1:]]
        inodes = {f"socket:[{row[9]}]" for row in rows if row[1] == where and row[3] == _LISTENING}
        return sorted(process.pid for process in self.processes() if inodes & _open_files(process.pid))

    def remove(self) -> None:
        """End every process that is here, and the namespace with its links."""
        with contextlib.suppress(RuntimeError):
            left = [process for process in self.processes() if process.pid != os.getpid()]
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            psutil.wait_procs(left, timeout=_TIMEOUT_S)
        with contextlib.suppress(RuntimeError):
            command("ip", "netns", "delete", self.name)
        shutil.rmtree(_NAMES / self.name, ignore_errors=True)


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
        _check_permitted()
        _remove_leftovers()
        self._prefix = f"offload-{os.getpid()}-{next(_serial)}"
        self.sites: list[Namespace] = []
        self._delay_s = delay_s
        self._lines: list[subprocess.Popen[bytes]] = []
        self.hub = Namespace(f"{self._prefix}hub")
        try:
            command("ip", "-n", self.hub.name, "address", "add", f"{RELAY_ADDRESS}/32", "dev", "lo")
            self.hub.wall(_HUB_WALL.format(door=_door(RELAY_ADDRESS, RELAY_PORT)))
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
        site.wall(_SITE_WALL.format(door=_door(RELAY_ADDRESS, RELAY_PORT)))
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
            namespace.wall(f"add element inet wall doors {{ {_door(address, port)} }}")
        try:
            yield
        finally:
            for namespace in everywhere:
                namespace.wall(f"delete element inet wall doors {{ {_door(address, port)} }}")

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


def _door(address: str, port: int) -> str:
    return f"{address} . {port}"


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


def _open_files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry))
    return found


def _check_permitted() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotPermitted("network namespaces need Linux and root")
    name = f"offload-{os.getpid()}-probe"
    try:
        command("ip", "netns", "add", name)
    except RuntimeError as error:
        if "Operation not permitted" not in str(error):
            raise
        raise NotPermitted(f"network namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN: {error}") from error
    command("ip", "netns", "delete", name)


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _remove_leftovers() -> None:
    """Remove what a run left that was killed."""
    for line in command("ip", "netns", "list").splitlines():
        name = line.split()[0]
        ours = _OURS.match(name)
        if ours and not _lives(int(ours[1])):
            left = Namespace.__new__(Namespace)
            left.name = name
            left.remove()
