"""What can be reached from outside the tree: the scheduler's TLS port, the dashboard's socket, the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from process_tree import Control, TreeOfOne, Zygote, clean_environment, make_certificates, talk_http, until

Start = Callable[..., TreeOfOne]


# ---------------------------------------------------------------- TLS
def handshake(address: str, ca_file: str, certificate: str | None) -> bytes:
    """Connect with plain ssl, so that nothing on this side refuses first; return what the scheduler sends."""
    host, port = address.removeprefix("tls://").split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(ca_file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    with context.wrap_socket(socket.create_connection((host, int(port)), timeout=20)) as connection:
        return connection.recv(100)  # in TLS 1.3 the refusal comes with the first read


def test_only_certificates_of_this_cluster_are_accepted(start: Start, tmp_path: Path) -> None:
    tree = start(workers=1)
    status = tree.connected(1)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    other = make_certificates(foreign)
    for address in (status["scheduler_address"], status["workers"][0]["address"]):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(address, tree.tls["ca_file"], None)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(address, tree.tls["ca_file"], other["client_file"])
        assert handshake(address, tree.tls["ca_file"], tree.tls["client_file"]), "ours is let in"


def test_plain_tcp_gets_nothing(start: Start) -> None:
    tree = start(workers=0)
    host, port = tree.ready()["scheduler_address"].removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100)
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(100):
                received += data
    assert len(received) <= 7, "a TLS alert at most"
    assert received[:1] in (b"", b"\x15")


def test_one_tls_port_each_and_no_other(start_either: Start) -> None:
    tree = start_either()
    status = tree.connected(2)
    until((tree.runtime / "dashboard.sock").exists)
    listening = {
        f"tls://{one.laddr.ip}:{one.laddr.port}"
        for pid in [*tree.members(), *([tree.supervisor[0]] if tree.supervisor else [])]
        for one in psutil.Process(pid).net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert listening == {status["scheduler_address"], *(w["address"] for w in status["workers"])}


# ---------------------------------------------------------------- dashboard
@contextlib.asynccontextmanager
async def proxy(path: Path) -> AsyncIterator[int]:
    """Join a TCP port to the dashboard's socket, byte by byte, as a proxy does."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    joined: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        joined.append(asyncio.ensure_future(join(reader, writer)))

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(path))
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in joined:
        task.cancel()
    await asyncio.gather(*joined, return_exceptions=True)


def count_roots(url: str) -> int:
    """Pull a page's whole document through its WebSocket, as a browser gets it."""
    from bokeh.client import pull_session

    session = pull_session(url=url)
    try:
        return len(session.document.roots)
    finally:
        session.close()


async def test_every_dashboard_page_renders_over_the_socket(start_either: Start) -> None:
    tree = await asyncio.to_thread(start_either)
    await asyncio.to_thread(tree.connected, 2)
    socket_path = tree.runtime / "dashboard.sock"
    await asyncio.to_thread(until, socket_path.exists)
    # It is made 0700 by the umask, for nobody else either, and then set to what it is to be.
    await asyncio.to_thread(until, lambda: stat.S_IMODE(socket_path.stat().st_mode) == 0o600)
    async with proxy(socket_path) as port:
        root = f"http://127.0.0.1:{port}"
        names = ("status", "individual-task-stream", "individual-progress", "individual-workers-memory", "graph")
        for name in names:
            assert await asyncio.to_thread(count_roots, f"{root}/{name}"), name


def test_dashboard_serves_pages_plots_and_health(start: Start) -> None:
    tree = start()
    tree.connected(2)
    path = tree.runtime / "dashboard.sock"
    until(path.exists)

    def get(target: str) -> bytes:
        return talk_http(path, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert b"200 OK" in get("/health")
    assert b"200 OK" in get("/status").partition(b"\r\n")[0]
    assert b"Bokeh" in get("/status")
    plots = json.loads(get("/individual-plots.json").partition(b"\r\n\r\n")[2])
    assert plots["Individual Task Stream"] == "/individual-task-stream"
    assert b"404" in get("/proxy/22/127.0.0.1/").partition(b"\r\n")[0], "no fetching of other ports"


def test_without_bokeh_there_is_no_dashboard_and_all_else_works(make_tree: Start, tmp_path: Path) -> None:
    hide = tmp_path / "hide"
    (hide / "bokeh").mkdir(parents=True)
    (hide / "bokeh" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'bokeh'\")\n")
    zygote = Zygote(env=clean_environment(PYTHONPATH=str(hide)))
    try:
        tree = make_tree(workers=1).start_warm(zygote)
        tree.connected(1)
        with tree.client() as client:
            assert client.submit(sum, [1, 2]).result(30) == 3
        until(lambda: "No dashboard" in tree.log("scheduler"))
        assert not (tree.runtime / "dashboard.sock").exists()
        assert tree.stop()["code"] == "stopped"
    finally:
        zygote.dispose()


def test_dashboard_can_be_left_out(start: Start) -> None:
    tree = start(workers=1, scheduler={"dashboard": False})
    tree.connected(1)
    assert not (tree.runtime / "dashboard.sock").exists()


# ---------------------------------------------------------------- control
def test_hello_names_versions(start: Start) -> None:
    import distributed

    tree = start(workers=0)
    hello = tree.control.call("hello")
    assert hello["protocol"] == 1
    assert hello["pid"] == tree.ready()["scheduler"]["pid"]
    assert hello["versions"]["distributed"] == distributed.__version__
    assert hello["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b'{"id": 7, "op": "dance"}', "unknown-op", "'dance'"),
        (b'{"id": 7}', "unknown-op", "None"),
        (b"not json", "bad-request", "JSON"),
        (b"[1, 2]", "bad-request", "JSON"),
        (b'{"id": 7, "op": "scale"}', "bad-request", "workers None"),
        (b'{"id": 7, "op": "scale", "workers": -1}', "bad-request", "workers -1"),
        (b'{"id": 7, "op": "scale", "workers": 1000000}', "bad-request", "workers 1000000"),
        (b'{"id": 7, "op": "scale", "workers": 1.5}', "bad-request", "workers 1.5"),
        (b'{"id": 7, "op": "scale", "workers": true}', "bad-request", "workers True"),
        (b'{"id": 7, "op": "retire", "names": "w0"}', "bad-request", "names 'w0'"),
        (b'{"id": 7, "op": "retire", "names": ["w0"]}', "bad-request", "w0"),
        (b'{"id": 7, "op": "wait", "since": 0, "timeout_s": -1}', "bad-request", "timeout_s -1"),
        (b'{"id": 7, "op": "status", "events_since": "x"}', "bad-request", "events_since 'x'"),
    ],
)
def test_wrong_requests_are_refused_by_name(quiet_tree: TreeOfOne, line: bytes, code: str, words: str) -> None:
    answer = quiet_tree.control.raw(line)
    assert answer["ok"] is False
    assert answer["error"]["code"] == code
    assert words in answer["error"]["message"]
    assert answer["id"] == (7 if b'"id"' in line else None)
    assert quiet_tree.control.call("hello")["ok"], "the line goes on"


@pytest.fixture(scope="module")
def quiet_tree(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> TreeOfOne:
    tree = TreeOfOne(tmp_path_factory.mktemp("quiet"), workers=1).start_warm(zygote)
    tree.connected(1)
    yield tree
    tree.dispose()


def test_requests_do_not_wait_for_each_other(quiet_tree: TreeOfOne) -> None:
    control = quiet_tree.control
    sequence = quiet_tree.status()["sequence"]
    waiting = control.send("wait", since=sequence, timeout_s=60)
    hello = control.send("hello")
    assert control.read()["id"] == hello
    with quiet_tree.client():
        answer = control.read()
        assert answer["id"] == waiting
        assert answer["sequence"] > sequence
    until(lambda: quiet_tree.status()["clients"] == 0)
    codes = [event["code"] for event in quiet_tree.status(events_since=sequence)["events"]]
    assert codes == ["client-connected", "client-gone"]


def test_wait_ends_by_its_timeout_and_at_once_for_an_old_number(quiet_tree: TreeOfOne) -> None:
    sequence = quiet_tree.status()["sequence"]
    assert quiet_tree.control.call("wait", since=sequence, timeout_s=0.05)["sequence"] == sequence
    assert quiet_tree.control.call("wait", since=sequence - 1, timeout_s=60)["sequence"] == sequence


def test_a_client_that_vanishes_harms_nobody(quiet_tree: TreeOfOne) -> None:
    other = Control(quiet_tree.runtime / "control.sock")
    other.send("wait", since=quiet_tree.status()["sequence"], timeout_s=60)
    other.close()
    huge = Control(quiet_tree.runtime / "control.sock")
    with contextlib.suppress(AssertionError, OSError):
        huge.raw(b"x" * (3 << 20))
    huge.close()
    assert quiet_tree.control.call("hello")["ok"]


def test_idle_busy_and_adaptive(start: Start) -> None:
    import time

    tree = start(workers=1)
    tree.connected(1)
    until(lambda: tree.status()["idle_since"])
    with tree.client() as client:
        futures = client.map(lambda i: time.sleep(600), range(100), pure=False)
        until(lambda: tree.status()["busy_fraction"] == 1.0)
        status = tree.status()
        assert status["idle_since"] is None
        assert status["tasks_waiting"] == 99
        assert status["workers"][0]["executing"] == 1
        until(lambda: tree.status()["adaptive_target"] > 1)
        client.cancel(futures, force=True)
        del futures
        client.restart(timeout=60)
        until(lambda: tree.status()["idle_since"])
        assert tree.status()["tasks_waiting"] == 0
