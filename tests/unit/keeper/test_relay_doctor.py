"""What the doctor says of a relay, with the repair."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_offload.api.models import Finding
from jupyter_offload.keeper import doctor_relay
from jupyter_offload.keeper.relay import embedded
from jupyter_offload.keeper.relay.problems import refused
from jupyter_offload.keeper.relay.settings import EmbeddedRelay
from jupyter_offload.keeper.sites import SiteEntry
from jupyter_offload.ports import Capability
from jupyter_offload.relay import certificates


@pytest.fixture
def relay_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("DATA", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    short = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", short)
    path = tmp_path / "config" / "offload" / "relay.yaml"
    path.parent.mkdir(parents=True)
    yield path


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trial(_: object) -> None:
        return None

    monkeypatch.setattr("jupyter_offload.keeper.doctor_relay.Admission.trial", trial)


@contextlib.contextmanager
def tls_server(certificate: Path | None) -> Iterator[int]:
    """A port that shows a certificate, or says something that is no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                with one, contextlib.suppress(OSError):
                    if certificate is None:
                        one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                        continue
                    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                    context.load_cert_chain(certificate)
                    with context.wrap_socket(one, server_side=True) as tls:
                        tls.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


async def found(path: Path, text: str, *sites: SiteEntry) -> list[Finding]:
    path.write_text(text)
    return await doctor_relay.relay_findings(sites)


def facility(port: int, ca: Path, domain: str = "relay.test") -> str:
    return f"addresses: ['127.0.0.1:{port}']\ndomain: {domain}\nca_file: {ca}\nadmission: /run/relay.sock\n"


@pytest.mark.usefixtures("accepted")
async def test_a_relay_that_is_there_and_trusted(relay_file: Path, tmp_path: Path) -> None:
    ca, certificate = certificates.make_relay_certificate(tmp_path / "relay", "relay.test")
    with tls_server(certificate) as port:
        findings = await found(relay_file, facility(port, ca))
    assert [f.state for f in findings] == ["ok", "ok"]
    assert f"127.0.0.1:{port}" in findings[0].message and "relay.test" in findings[0].message
    assert "takes our word" in findings[1].message


@pytest.mark.usefixtures("accepted")
async def test_what_is_wrong_with_the_way_there(
    relay_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, certificate = certificates.make_relay_certificate(tmp_path / "relay", "relay.test")
    other, _ = certificates.make_relay_certificate(tmp_path / "other", "relay.test")
    monkeypatch.setattr(certificates, "RELAY_VALIDITY", datetime.timedelta(days=3))
    soon, ending = certificates.make_relay_certificate(tmp_path / "soon", "relay.test")
    said = []
    with tls_server(certificate) as port:
        said += (await found(relay_file, facility(port, other)))[:1]
        said += (await found(relay_file, facility(port, ca, "relay.other")))[:1]
        said += (await found(relay_file, facility(port, tmp_path / "none.pem")))[:1]
    said += (await found(relay_file, facility(port, ca)))[:1]
    with tls_server(None) as port:
        said += (await found(relay_file, facility(port, ca)))[:1]
    with tls_server(ending) as port:
        said += (await found(relay_file, facility(port, soon)))[:1]
    assert [f.state for f in said] == ["error"] * 5 + ["warning"]
    for finding, part in zip(
        said,
        ("is not trusted", "is not trusted", "cannot be used", "cannot be reached", "is no relay", "ends in 2 d"),
        strict=True,
    ):
        assert part in finding.message, finding
        assert finding.hint


async def test_a_relay_that_does_not_take_our_word(relay_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def trial(_: object) -> str:
        raise refused("The token is not accepted.", "Get a new one.")

    monkeypatch.setattr("jupyter_offload.keeper.doctor_relay.Admission.trial", trial)
    last = (await found(relay_file, "addresses: ['127.0.0.1:9']\nadmission: /run/relay.sock\n"))[-1]
    assert (last.state, last.message, last.hint) == ("error", "The token is not accepted.", "Get a new one.")


async def test_every_mistake_of_the_file(relay_file: Path) -> None:
    findings = await found(relay_file, "addresses: [x]\ndomain: X\n")
    assert [f.state for f in findings] == ["error"] * 3
    assert all(str(relay_file) in f.message and f.hint for f in findings)


class Needing:
    capabilities = frozenset({Capability.dial_out})


NEEDING = SiteEntry("far", "Far", backend=Needing())  # type: ignore[arg-type]


async def test_nothing_is_said_where_nothing_is_needed(relay_file: Path) -> None:
    (finding,) = await doctor_relay.relay_findings([SiteEntry("local", "Here")])
    assert finding.state == "ok"


async def test_a_relay_of_our_own_is_dialled_by_a_guess_unless_it_is_told(relay_file: Path) -> None:
    warning, ok = await doctor_relay.relay_findings([NEEDING])
    assert (warning.state, ok.state) == ("warning", "ok")
    assert embedded.guessed_host() in warning.message and "far" in warning.message
    assert "embedded: {host:" in (warning.hint or "")
    findings = await found(relay_file, "embedded: {host: login.test}\n", NEEDING)
    assert [f.state for f in findings] == ["ok"]


async def test_its_port_must_be_free(relay_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = await found(relay_file, f"embedded: {{host: a, bind: 127.0.0.1, port: {port}}}\n", NEEDING)
        assert [f.state for f in findings] == ["error"]
        assert str(port) in findings[0].message and "embedded.port" in (findings[0].hint or "")
    findings = await found(relay_file, f"embedded: {{host: a, bind: 127.0.0.1, port: {port}}}\n", NEEDING)
    assert [f.state for f in findings] == ["ok"]


async def test_a_port_once_had_is_kept_while_anybody_knows_it(relay_file: Path) -> None:
    one = embedded.Embedded()
    settings = EmbeddedRelay(host="here.test", bind="127.0.0.1")
    first = await one.use(settings, 60, 600, in_use=False)
    again = await one.use(settings, 60, 600, in_use=False)
    assert first.addresses == again.addresses
    port = int(first.addresses[0].rpartition(":")[2])
    assert first.addresses == [f"here.test:{port}"]
    with socket.create_server(("127.0.0.1", port)):
        known = await one.use(settings, 60, 600, in_use=True)
        assert known.addresses == first.addresses, "workers know it"
        other = await one.use(settings, 60, 600, in_use=False)
        assert other.addresses != first.addresses, "somebody else has it, and nobody knows it"
    chosen = await one.use(EmbeddedRelay(host="::1", bind="127.0.0.1", port=5), 60, 600, in_use=False)
    assert chosen.addresses == ["[::1]:5"]
    assert (chosen.embedded, chosen.resume_s, chosen.lease_s) == (True, 60, 600)
