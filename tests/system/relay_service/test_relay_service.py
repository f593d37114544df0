"""The relay as a process: what kills, signals and new files do to it and to those who are connected."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jupyter_offload.relay.certificates import make_relay_certificate
from jupyter_offload.relay.client import RelayClient, RelayRefused, RelayUnavailable

from .relay_by_hand import Cluster
from .relay_process import DOMAIN, RelayProcess, admit

MakeRelay = Callable[..., RelayProcess]
SECRET = b"nobody but the two ends may read this"


def numbers(relay: RelayProcess, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus reads."""
    answer = httpx.get(f"http://127.0.0.1:{relay.metrics_port}/metrics", headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


async def test_a_relay_that_was_killed_comes_back_with_its_leases(relay: RelayProcess, tmp_path: Path) -> None:
    cluster = Cluster(relay, tmp_path / "keys")
    async with relay.here() as client:
        before = await admit(client, tmp_path / "keys")
        await client.revoke(before.cluster, "w-gone-*")
        control = await cluster.register()
    relay.kill()
    assert await control.ended()
    relay.start()
    again = await cluster.register()  # the moment that it is there
    async with relay.here() as client:
        status = await client.describe(before.cluster)
        assert status is not None
        assert (status.peers, status.lease.revoked) == (("scheduler",), ("w-gone-*",))
        assert status.lease.expires_at == pytest.approx(before.expires_at, abs=2)
        await client.withdraw(before.cluster)
    assert await again.ended()


async def test_a_lease_that_lapses_cuts_what_is_joined(relay: RelayProcess, tmp_path: Path) -> None:
    cluster = Cluster(relay, tmp_path / "keys")
    async with relay.here() as client:
        await admit(client, tmp_path / "keys", 60)
        connector, listener = await cluster.joined(await cluster.register())
        connector.writer.write(b"hello")
        assert await listener.take(5) == b"hello"
        await admit(client, tmp_path / "keys", 1)
        assert await connector.ended() and await listener.ended()
        assert await client.describe(cluster.name) is None
    assert relay.events("lease-lapsed")[0]["cluster"] == cluster.name


async def test_numbers_and_log_are_by_cluster_and_hold_no_payload(relay: RelayProcess, tmp_path: Path) -> None:
    cluster = Cluster(relay, tmp_path / "keys")
    async with relay.there("a-secret-token") as stranger:
        with pytest.raises(RelayRefused):
            await admit(stranger, tmp_path / "keys")
    async with relay.here() as client:
        await admit(client, tmp_path / "keys")
        connector, listener = await cluster.joined(await cluster.register())
        connector.writer.write(SECRET * 100)
        assert await listener.take(len(SECRET) * 100) == SECRET * 100
        found = await asyncio.to_thread(numbers, relay)
        mine = frozenset({("cluster", cluster.name)})
        assert found["offload_relay_cluster_peers", mine] == 1
        assert found["offload_relay_cluster_connections", mine] == 1
        assert found["offload_relay_cluster_bytes_total", mine | {("direction", "to_peer")}] == 100 * len(SECRET)
        assert found["offload_relay_bytes_total", frozenset({("direction", "to_peer")})] == 100 * len(SECRET)
        assert found["offload_relay_leases", frozenset()] == 1
        assert found["offload_relay_requests_total", frozenset({("request", "cluster"), ("status", "401")})] == 1
        assert found["process_open_fds", frozenset()] > 5
        assert found["offload_relay_certificate_expiry_timestamp_seconds", frozenset()] > time.time() + 86400
        status = await client.describe(cluster.name)
        assert status is not None and (status.connections, status.bytes) == (1, 100 * len(SECRET))
        await client.withdraw(cluster.name)
    text = httpx.get(f"http://127.0.0.1:{relay.metrics_port}/metrics", timeout=30, trust_env=False).text
    for secret in (SECRET.decode(), "a-secret-token", "root"):
        assert secret not in text
    for secret in (SECRET.decode(), "a-secret-token"):
        assert secret not in relay.log
    lines = [json.loads(line) for line in relay.log.splitlines()]  # all of it is JSON
    assert all({"time", "level", "event"} <= set(line) for line in lines)
    assert {line["cluster"] for line in lines if line["event"].startswith("lease-")} == {cluster.name}


async def test_numbers_for_others_need_a_token(make_relay: MakeRelay, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("let-me-see\n")
    relay = make_relay()
    relay.write(metrics={"address": "0.0.0.0:0", "token_file": str(token_file)})
    relay.start()
    url = f"http://127.0.0.1:{relay.metrics_port}/metrics"
    for headers in ({}, {"Authorization": "Bearer guess"}, {"Authorization": "Basic let-me-see"}):
        assert httpx.get(url, headers=headers, timeout=30, trust_env=False).status_code == 401
    assert numbers(relay, Authorization="Bearer let-me-see")
    token_file.write_text("")
    assert httpx.get(url, headers={"Authorization": "Bearer"}, timeout=30, trust_env=False).status_code == 401


async def test_numbers_on_a_socket(make_relay: MakeRelay) -> None:
    relay = make_relay()
    path = str(relay.socket) + "-metrics"
    relay.write(metrics={"address": path})
    relay.start()
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)) as http:
        assert "offload_relay_leases 0" in (await http.get("http://metrics/metrics")).text
        assert (await http.get("http://metrics/v1/clusters")).status_code == 404


async def test_it_ends_gently(make_relay: MakeRelay, tmp_path: Path) -> None:
    relay = make_relay(drain_s=120).start()
    cluster = Cluster(relay, tmp_path / "keys")
    async with relay.there() as outside, relay.here() as client:
        assert (await outside.health()).status == "ok"
        await admit(client, tmp_path / "keys")
        control = await cluster.register()
        connector, listener = await cluster.joined(control)
        relay.signal(signal.SIGTERM)
        assert (await control.hear())["op"] == "drain"
        assert (await outside.health()).status == "draining"
        with pytest.raises(RelayUnavailable) as unavailable:
            await admit(client, tmp_path / "keys")
        assert unavailable.value.code == "draining"
        assert not relay.socket.exists()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", relay.port)
    # a session is sent elsewhere by the relay itself; then nobody is left to wait for
    assert await connector.ended() and await listener.ended()
    assert relay.process is not None
    assert await asyncio.to_thread(relay.process.wait, 60) == 0


async def test_a_second_signal_ends_it_at_once(make_relay: MakeRelay, tmp_path: Path) -> None:
    relay = make_relay(drain_s=3600).start()
    cluster = Cluster(relay, tmp_path / "keys")
    async with relay.here() as client:
        await admit(client, tmp_path / "keys")
    control = await cluster.register()
    relay.signal(signal.SIGTERM)
    assert (await control.hear())["op"] == "drain"
    relay.signal(signal.SIGTERM)
    assert relay.process is not None
    assert await asyncio.to_thread(relay.process.wait, 60) == 0


async def test_a_new_relay_takes_over(make_relay: MakeRelay, tmp_path: Path) -> None:
    relay = make_relay(drain_s=60)
    relay.write(listen={"host": "127.0.0.1", "port": 0, "reuse_port": True})
    cluster = Cluster(relay.start(), tmp_path / "keys")
    async with relay.here() as client:
        await admit(client, tmp_path / "keys")
    control = await cluster.register()
    old = relay.process
    relay.start()  # beside the old one
    assert old is not None and old.poll() is None
    old.terminate()
    assert (await control.hear())["op"] == "drain"
    again = await cluster.register()  # the old one takes nobody new, so this is the new one
    control.writer.close()
    assert await asyncio.to_thread(old.wait, 60) == 0
    async with relay.here() as client:  # whose socket the old one left alone
        status = await client.describe(cluster.name)
        assert status is not None and status.peers == ("scheduler",)
    assert not again.reader.at_eof()


async def test_a_renewed_certificate_is_shown_and_a_broken_one_is_not(relay: RelayProcess, tmp_path: Path) -> None:
    cluster = Cluster(relay, tmp_path / "keys")
    async with relay.here() as client:
        await admit(client, tmp_path / "keys")
    control = await cluster.register()
    new_ca, new = make_relay_certificate(tmp_path / "renewed", DOMAIN)
    relay.certificate_file.write_text("no certificate")
    relay.reload()
    assert relay.events("certificate-bad")
    async with relay.there() as client:
        assert (await client.health()).status == "ok"
    shutil.copy(new, relay.certificate_file)
    relay.reload()
    with pytest.raises(RelayUnavailable) as untrusted:
        async with relay.there() as client:
            await client.health()
    assert untrusted.value.code == "untrusted"
    async with RelayClient(relay.address, DOMAIN, ca_file=new_ca) as client:
        assert (await client.health()).status == "ok"
    control.writer.write(b'{"op": "ping"}\n')
    assert (await control.hear())["op"] == "pong"


async def test_a_certificate_that_was_renewed_behind_its_back(relay: RelayProcess, tmp_path: Path) -> None:
    new_ca, new = make_relay_certificate(tmp_path / "renewed", DOMAIN)
    shutil.copy(new, relay.certificate_file)
    relay.until(lambda: relay.events("certificate-read"))
    async with RelayClient(relay.address, DOMAIN, ca_file=new_ca) as client:
        assert (await client.health()).status == "ok"


async def test_a_reload_takes_over_identities_and_quotas(relay: RelayProcess, tmp_path: Path) -> None:
    async with relay.here() as client:
        await admit(client, tmp_path / "keys")
        relay.write(quota={"clusters": 1})
        relay.reload()
        with pytest.raises(RelayRefused) as refused:
            await admit(client, tmp_path / "more keys")
        assert refused.value.code == "quota-exceeded"
        relay.write(identities=[{"type": "unix", "allow": ["somebody-else"]}])
        relay.reload()
        with pytest.raises(RelayRefused, match="may not use this relay") as refused:
            await admit(client, tmp_path / "keys")
        assert refused.value.code == "not-allowed"
        relay.write(identities=[{"type": "unix", "allow": [os.getuid()]}])
        relay.reload()
        await admit(client, tmp_path / "keys")
        relay.file.write_text("domain: [")
        relay.reload()
        assert "not YAML" in relay.events("reload-failed")[0]["reason"]
        await admit(client, tmp_path / "keys")


async def test_systemd_is_told(make_relay: MakeRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = make_relay()
    heard = relay.socket.with_name("n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(heard))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(heard))
        relay.start()
        assert systemd.recv(100) == b"READY=1"
        relay.signal(signal.SIGHUP)
        assert systemd.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert systemd.recv(100) == b"READY=1"
        relay.signal(signal.SIGTERM)
        assert systemd.recv(100) == b"STOPPING=1"


async def test_it_takes_as_many_descriptors_as_it_may(make_relay: MakeRelay) -> None:
    relay = make_relay()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        relay.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert relay.process is not None
    if sys.platform == "linux":
        assert psutil.Process(relay.process.pid).rlimit(psutil.RLIMIT_NOFILE)[0] > 256
    assert numbers(relay)["process_max_fds", frozenset()] > 256


def finished(relay: RelayProcess) -> tuple[int, str]:
    """Start it, and return how it ended."""
    process = relay.spawn()
    return process.wait(60), relay.log


def test_all_mistakes_are_said_at_once(make_relay: MakeRelay) -> None:
    relay = make_relay(domain="Relay!", identities=[{"type": "oidc", "issuer": "http://id.example.org"}], colour="red")
    status, log = finished(relay)
    assert status == 2
    for field in ("domain:", "identities[0].issuer:", "identities[0].audience:", "colour:"):
        assert f"{relay.file}: {field}" in log
    assert "Traceback" not in log


def test_what_is_missing_around_it_is_said(make_relay: MakeRelay, tmp_path: Path) -> None:
    missing = str(tmp_path / "none" / "x")
    relay = make_relay(
        certificate_file=missing, metrics={"address": f"{tmp_path}/none/metrics"},
        identities=[{"type": "kubernetes", "audiences": ["a"], "token_file": missing, "ca_file": missing}],
    )  # fmt: skip
    status, log = finished(relay)
    assert status == 2
    for field in ("certificate_file", "metrics.address", "identities[0].token_file", "identities[0].ca_file"):
        assert f"{relay.file}: {field}: " in log


def test_a_port_that_is_taken_is_said(make_relay: MakeRelay) -> None:
    relay = make_relay()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        relay.write(listen={"host": "127.0.0.1", "port": taken.getsockname()[1]})
        status, log = finished(relay)
    assert status == 1
    assert "The relay cannot start:" in log and "Traceback" not in log


# ------------------------------------------------------------ the command line
def cli(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jupyter_offload.cli", "relay", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd="/")


def test_look_at_a_relay(relay: RelayProcess, tmp_path: Path) -> None:
    right = cli("check", relay.address, "--domain", DOMAIN, "--ca-file", str(relay.ca_file))
    assert right.returncode == 0, right.stderr
    assert "It is a relay of version" in right.stdout
    untrusted = cli("check", relay.address, "--domain", DOMAIN, "--json")
    assert untrusted.returncode == 1
    found: list[dict[str, Any]] = json.loads(untrusted.stdout)["findings"]
    assert [(f["check"], f["state"]) for f in found] == [("port", "ok"), ("certificate", "error")]
    assert "--ca-file" in found[1]["hint"]
    elsewhere = cli("check", relay.address, "--domain", "relay.other", "--ca-file", str(relay.ca_file))
    assert elsewhere.returncode == 1 and "relay.other" in elsewhere.stdout
    assert cli("check", "relay:port").returncode == 2
    relay.kill()
    gone = cli("check", relay.address, "--domain", DOMAIN)
    assert gone.returncode == 1 and "cannot be reached" in gone.stdout


def test_look_at_a_configuration(make_relay: MakeRelay) -> None:
    relay = make_relay()
    assert f"a relay {DOMAIN}, for unix" in cli("check-config", "--config", str(relay.file)).stdout
    relay.write(domain="relay.other", drain_s=-1)
    wrong = cli("check-config", "--config", str(relay.file))
    assert wrong.returncode == 2 and "drain_s" in wrong.stderr
    relay.write(drain_s="10 s")
    wrong = cli("check-config", "--config", str(relay.file), "--json")
    assert "no certificate of relay.other" in json.loads(wrong.stderr)["detail"]
    assert json.loads(cli("check-config", "--schema").stdout)["properties"]["domain"]


def test_serve_from_the_command_line(make_relay: MakeRelay) -> None:
    relay = make_relay()
    with relay.log_file.open("ab") as log:
        command = [sys.executable, "-m", "jupyter_offload.cli", "relay", "serve", "--config", str(relay.file)]
        relay.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    relay.until(lambda: relay.events("ready"))
    relay.port = relay.events("listening")[0]["port"]
    assert cli("check", relay.address, "--domain", DOMAIN, "--ca-file", str(relay.ca_file)).returncode == 0
    relay.signal(signal.SIGINT)
    assert relay.process.wait(60) == 0
