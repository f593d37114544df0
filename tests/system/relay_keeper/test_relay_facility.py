"""A relay that the facility runs: used, waited for when it is away, and its word on the card."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_offload.api.client import KeeperClient
from jupyter_offload.api.models import Cluster, Findings, KeeperHealth
from jupyter_offload.api.problems import OffloadError
from jupyter_offload.keeper import folders
from jupyter_offload.relay.names import fingerprint

from ..keeper.conftest import until
from .conftest import Facility, no_relay


def cluster_name(cluster: Cluster) -> str:
    ca_pem = (folders.clusters_folder() / cluster.id / "ca.pem").read_text()
    return fingerprint(ssl.PEM_cert_to_DER_cert(ca_pem))


def test_a_facilitys_relay_is_used_and_left_as_it_was(far: Any, facility: Facility) -> None:
    facility.start()
    with far(relay=facility.configuration) as desk:
        cluster = desk.new("far", 1, site="far")
        assert no_relay(), "none of our own is needed"
        name = cluster_name(cluster)
        assert asyncio.run(facility.admitted(name))
        with desk.dask("far") as dask:
            assert dask.submit(sum, [1, 2]).result(60) == 3
        findings = desk.client.call("doctor", Findings).findings
        assert [f.state for f in findings if f.check == "relay"] == ["ok", "ok"], findings
        desk.stop("far")
        until(lambda: not asyncio.run(facility.admitted(name)))


def test_a_relay_that_comes_late_is_waited_for(far: Any, facility: Facility) -> None:
    """The cluster is there for its client; the card says why no worker is."""
    with far(relay=facility.configuration) as desk:
        desk.new("far", 1, site="far", ready=False)
        told = desk.when("far", lambda c: c.reason.code.value.startswith("relay-"))
        assert told.connectable and told.phase.value == "starting"
        assert (told.reason.hint or "") and told.workers.requested == 1
        errors = [f for f in desk.client.call("doctor", Findings).findings if f.check == "relay"]
        assert [f.state for f in errors] == ["error", "error"] and all(f.hint for f in errors)
        with desk.dask("far") as dask:
            waiting = dask.submit(sum, [1, 2])
            facility.start()
            assert waiting.result(90) == 3
        desk.when("far", lambda c: c.reason.code.value == "all-workers")
        codes = set(desk.codes("far"))
        assert codes & {"relay-unreachable", "relay-lost"} and "worker-lost" not in codes


def test_a_relay_that_is_gone_for_good_does_not_keep_a_cluster(far: Any, facility: Facility) -> None:
    facility.start()
    with far(relay=facility.configuration) as desk:
        desk.new("far", 1, site="far")
        facility.stop()
        told = desk.when("far", lambda c: c.reason.code.value == "relay-unreachable")
        assert (told.phase.value, told.workers.connected) == ("running", 1), "out of reach is not gone"
        assert "relay-lost" in desk.codes("far")
        desk.stop("far")


def test_whom_the_relay_does_not_take_is_told_so(far: Any, facility: Facility) -> None:
    text = facility.configuration.replace(str(facility.socket), "https")
    with far(relay=text + "identity: {token_variable: NO_SUCH_TOKEN}\n") as desk:
        facility.start()
        desk.new("far", 1, site="far", ready=False)
        told = desk.when("far", lambda c: c.reason.code.value == "relay-refused")
        assert "NO_SUCH_TOKEN" in told.reason.message and told.reason.hint
        assert "relay-refused" in desk.codes("far")
        (desk.home / "conf" / "offload" / "relay.yaml").write_text(facility.configuration)
        desk.when("far", lambda c: c.reason.code.value == "all-workers")


class HubApi(http.server.BaseHTTPRequestHandler):
    """What a relay asks a Hub: whose token is it? Only the token of the session of now is somebody's."""

    valid = "of-now"

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"token {self.valid}"
        body = json.dumps({"kind": "user", "name": "alice", "groups": []} if known else {}).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub_api() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubApi)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hub/api"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_the_token_of_the_session_of_now_admits_and_reaches_no_cluster(
    far: Any, hub_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facility = Facility(tmp_path / "facility", {"type": "jupyterhub", "api_url": hub_api})
    text = facility.configuration.replace(str(facility.socket), "https")
    facility.start()
    monkeypatch.setenv("A_TOKEN_OF_MINE", "of-yesterday")
    try:
        with far(relay=text + "identity: {token_variable: A_TOKEN_OF_MINE}\n") as desk:
            desk.new("far", 1, site="far", ready=False)
            told = desk.when("far", lambda c: c.reason.code.value == "relay-refused")
            assert "The Hub does not know this token." in told.reason.message
            monkeypatch.setenv("A_TOKEN_OF_MINE", "of-now")
            with contextlib.closing(KeeperClient()) as next_session:
                next_session.call("health", KeeperHealth)
            desk.when("far", lambda c: c.reason.code.value == "all-workers")
            assert '"identity": "hub:alice"' in facility.log
            ours = [p for p in desk.processes() if "offload" in " ".join(p.cmdline())]
            assert len(ours) >= 3, "keeper, zygote, cluster"
            for process in ours:
                assert "A_TOKEN_OF_MINE" not in process.environ(), process.cmdline()
            for file in (desk.home / "data").rglob("*"):
                assert not file.is_file() or b"of-now" not in file.read_bytes(), file
            desk.stop("far")
    finally:
        facility.dispose()


def test_mistakes_in_the_file_keep_clusters_from_being_made(far: Any) -> None:
    with far(relay="addresses: [relay.example.org]\n") as desk:
        with pytest.raises(OffloadError) as caught:
            desk.new("far", 1, site="far")
        assert caught.value.code.value == "site-unhealthy" and len(caught.value.errors) == 2
        found = desk.client.call("checkSite", Findings, site="far").findings
        assert sum(f.state == "error" and "relay.yaml" in f.message for f in found) == 2
        desk.new("here", 1)
        desk.stop("here")
