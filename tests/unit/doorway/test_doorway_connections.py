"""Connection folders on this host."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from jupyter_offload.doorway import connections

THERE = "/home/ann/offload/clusters/abcdef"


def connection(**changes: Any) -> dict[str, Any]:
    client = f"{THERE}/client.pem"
    tls = {"ca_file": f"{THERE}/ca.pem", "cert_file": client, "key_file": client}
    given = {
        "id": "abcdef", "name": "a", "scheduler_address": "tls://10.0.0.7:1", "tls": tls,
        "connection_file": f"{THERE}/connection.json", "relay": None,
    }  # fmt: skip
    return given | changes


def files(**more: Any) -> dict[str, dict[str, str]]:
    client = {"path": f"{THERE}/client.pem", "text": "CERTIFICATE AND KEY"}
    told = {"address": "tls://10.0.0.7:1", "tls": {"ca": f"{THERE}/ca.pem", "cert": f"{THERE}/client.pem"}}
    return {
        "ca_file": {"path": f"{THERE}/ca.pem", "text": "CA"}, "cert_file": client, "key_file": client,
        "connection_file": {"path": f"{THERE}/connection.json", "text": json.dumps(told)}, **more,
    }  # fmt: skip


def test_every_path_leads_to_a_private_file_here(own: Path) -> None:
    moved = connections.keep(connection(), files())
    assert THERE not in json.dumps(moved)
    assert Path(moved["tls"]["ca_file"]).read_text() == "CA"
    assert moved["tls"]["cert_file"] == moved["tls"]["key_file"]
    assert Path(moved["tls"]["key_file"]).read_text() == "CERTIFICATE AND KEY"
    told = json.loads(Path(moved["connection_file"]).read_text())
    assert told["tls"] == {"ca": moved["tls"]["ca_file"], "cert": moved["tls"]["cert_file"]}
    folder = Path(moved["connection_file"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert moved["scheduler_address"] == "tls://10.0.0.7:1"


def test_the_relays_authority_comes_along(own: Path) -> None:
    relay = {"addresses": ["r:1"], "domain": "r", "ca_file": "/etc/relay.pem", "resume_s": 60}
    authority = {"path": "/etc/relay.pem", "text": "RELAY CA"}
    moved = connections.keep(connection(relay=relay), files(relay_ca_file=authority))
    assert Path(moved["relay"]["ca_file"]).read_text() == "RELAY CA"
    assert moved["relay"]["ca_file"].startswith(str(own))


def test_asked_again_nothing_that_is_right_is_touched_and_what_changed_is_replaced(own: Path) -> None:
    path = Path(connections.keep(connection(), files())["tls"]["ca_file"])
    inode = path.stat().st_ino
    connections.keep(connection(), files())
    assert path.stat().st_ino == inode
    connections.keep(connection(), files(ca_file={"path": f"{THERE}/ca.pem", "text": "ANOTHER"}))
    assert path.read_text() == "ANOTHER"


def test_a_cluster_without_encryption_has_no_keys(own: Path) -> None:
    only = {"connection_file": files()["connection_file"]}
    moved = connections.keep(connection(tls=None), only)
    assert moved["tls"] is None
    assert [p.name for p in Path(moved["connection_file"]).parent.iterdir()] == ["connection.json"]


def test_what_ended_is_forgotten(own: Path) -> None:
    connections.keep(connection(), files())
    assert connections.known() == ["abcdef"]
    connections.forget(["abcdef", "never-there"])
    assert connections.known() == []
