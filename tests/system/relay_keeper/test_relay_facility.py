"""A relay that the facility runs: used, waited for when it is away, and its word on the card."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from jupyter_offload.api.models import Cluster, Findings
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


def test_mistakes_in_the_file_keep_clusters_from_being_made(far: Any) -> None:
    with far(relay="addresses: [relay.example.org]\n") as desk:
        with pytest.raises(OffloadError) as caught:
            desk.new("far", 1, site="far")
        assert caught.value.code.value == "site-unhealthy" and len(caught.value.errors) == 2
        found = desk.client.call("checkSite", Findings, site="far").findings
        assert sum(f.state == "error" and "relay.yaml" in f.message for f in found) == 2
        desk.new("here", 1)
        desk.stop("here")
