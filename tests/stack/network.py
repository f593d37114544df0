"""Network namespaces, walls between them that let through one port, and a site behind such a wall.

Everything here has names of its own, so several suites can run on one machine, and what a killed run left behind is removed by the
next one.
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

_TIMEOUT_S = 20
#: Of what is here, `ip netns exec` shows each namespace its own part in /etc.
_NAMES = Path("/etc/netns")
_CLONE_NEWNET = 0x40000000
_LISTENING = "0A"
_OURS = re.compile(r"offload-(\d+)-\w+\Z")
_libc = ctypes.CDLL(None, use_errno=True)
_serial = iter(range(1 << 30))

#: Of a site: it may dial the doors, and nobody may dial it.
SITE_WALL = """
table inet wall {{
  set doors {{ type ipv4_addr . inet_service; {elements}}}
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


class WalledSite:
    """A site that can dial ports of this machine that were opened to it, at one address, and nothing else; nothing can dial it.

    Raises:
        NotPermitted: this process may not make such things.
        RuntimeError: ip or nft failed.
    """

    def __init__(self) -> None:
        check_permitted()
        remove_leftovers()
        name = new_prefix()
        self._link = f"jo{os.getpid() % 10**6}n{name.rpartition('-')[2]}"
        net = _unused_net()
        #: Where the site finds this machine.
        self.address = f"10.79.{net}.1"
        self.namespace = Namespace(f"{name}site")
        try:
            command(*f"ip link add {self._link} type veth peer name hub netns {self.namespace.name}".split())
            command(*f"ip address add {self.address}/24 dev {self._link}".split())
            command(*f"ip link set {self._link} up".split())
            command(*f"ip -n {self.namespace.name} address add 10.79.{net}.2/24 dev hub".split())
            command(*f"ip -n {self.namespace.name} link set hub up".split())
            self.namespace.wall(SITE_WALL.format(elements=""))
        except BaseException:
            self.remove()
            raise

    def open(self, port: int) -> None:
        """Let the site dial one port."""
        self.namespace.wall(f"add element inet wall doors {{ {door(self.address, port)} }}")

    def close(self, port: int) -> None:
        """Let it dial that port no more; what is open there stays."""
        self.namespace.wall(f"delete element inet wall doors {{ {door(self.address, port)} }}")

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Let nothing arrive there, as long as this lasts."""
        self.namespace.wall('add element inet wall cut { "hub" }')
        try:
            yield
        finally:
            self.namespace.wall('delete element inet wall cut { "hub" }')

    def reachable(self) -> list[int]:
        """Return the ports of this machine that the site can connect to, of all there are."""
        found = []
        with self.namespace.entered():
            for port in range(1, 1 << 16):
                with socket.socket() as one:
                    one.settimeout(1)
                    if one.connect_ex((self.address, port)) == 0:
                        found.append(port)
        return found

    def remove(self) -> None:
        """End everything that runs there, and it with its link."""
        self.namespace.remove()
        with contextlib.suppress(RuntimeError):  # it goes with the namespace
            command("ip", "link", "delete", self._link)


def _unused_net() -> int:
    """Return a number for which 10.79.NUMBER.0/24 is on no link here."""
    used = {int(number) for number in re.findall(r" 10\.79\.(\d+)\.", command("ip", "-4", "-o", "address"))}
    return next(number for number in range(1, 255) if number not in used)


def new_prefix() -> str:
    """Return the beginning of names that nobody else has; what has one is removed once this process is over."""
    return f"offload-{os.getpid()}-{next(_serial)}"


def door(address: str, port: int) -> str:
    """Return an element of the set of doors."""
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


def check_permitted() -> None:
    """Make sure that network namespaces may be made.

    Raises:
        NotPermitted: they may not.
    """
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


def remove_leftovers() -> None:
    """Remove what a run left that was killed."""
    for line in command("ip", "netns", "list").splitlines():
        name = line.split()[0]
        ours = _OURS.match(name)
        if ours and not _lives(int(ours[1])):
            left = Namespace.__new__(Namespace)
            left.name = name
            left.remove()
