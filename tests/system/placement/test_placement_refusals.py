"""Why a keeper's pod does not come, in words that a user can act on; and whom its door does not let in."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from jupyter_offload.api.models import ClusterList, Findings
from jupyter_offload.api.problems import OffloadError, ProblemCode, Unavailable
from jupyter_offload.doorway import identity

from .conftest import User, write_kubeconfig


def refused(user: User) -> OffloadError:
    with pytest.raises(Unavailable) as caught:
        user.client.call("listClusters", ClusterList)
    return caught.value


def test_an_image_that_cannot_be_pulled(user: User) -> None:
    user.place(image="registry.invalid/lab:1")
    error = refused(user)
    assert "ErrImagePull" in error.message or "ImagePullBackOff" in error.message
    assert "image in placement.yaml" in str(error.hint)
    # the doctor says the same, and a corrected file is enough
    told = user.client.call("doctor", Findings).findings
    assert [(f.check, f.state) for f in told] == [("placement", "error")]
    user.place()
    assert user.client.call("listClusters", ClusterList).clusters == []


def test_no_node_takes_it(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    user.place(cores=1000, start_timeout_s=12)
    error = refused(user)
    assert (
        "did not come within 12 s: no node takes it now: 0/1 nodes are available: 1 Insufficient cpu" in error.message
    )
    assert "cores" in str(error.hint)
    # progress was told while there was hope
    assert "offload: The keeper's pod is on its way: no node takes it now" in capsys.readouterr().err


def test_a_program_that_is_not_there(user: User) -> None:
    user.place(python="python-of-nobody")
    error = refused(user)
    assert user.name in error.message
    assert "python-of-nobody" in error.message


def test_an_account_without_rights(user: User) -> None:
    user.kubernetes.admin.post(
        f"/api/v1/namespaces/{user.kubernetes.namespace}/serviceaccounts", json={"metadata": {"name": "nobody"}}
    )
    write_kubeconfig(user.kubernetes, "nobody", user.folder / "kubeconfig")
    error = refused(user)
    assert error.code is ProblemCode.access_denied
    assert "pods" in error.message
    write_kubeconfig(user.kubernetes, "placement-user", user.folder / "kubeconfig")


def test_a_quota(user: User) -> None:
    path = f"/api/v1/namespaces/{user.kubernetes.namespace}/resourcequotas"
    user.kubernetes.make(path, {"metadata": {"name": "tight"}, "spec": {"hard": {"limits.memory": "1Mi"}}})
    try:
        user.kubernetes.until(lambda: "hard" in user.kubernetes.admin.get(f"{path}/tight").json().get("status", {}))
        error = refused(user)
        assert error.code is ProblemCode.quota_exceeded
        assert "'tight'" in error.message
        assert user.object("secrets") is None
    finally:
        user.kubernetes.admin.delete(f"{path}/tight")


def test_a_file_with_mistakes(user: User) -> None:
    user.place(cores="many", namspace="x")
    error = refused(user)
    assert {e.field.partition(" ")[0] for e in error.errors} == {"cores", "namspace"}
    assert "placement.yaml" in error.message
    user.place()


def test_an_api_server_that_does_not_answer_takes_nothing_away(user: User) -> None:
    cluster = user.new("stays")
    with user.kubernetes.silent():
        # the door needs no API server
        assert user.get("stays").id == cluster.id
        user.doorway.kill()
        with pytest.raises(Unavailable) as caught:
            user.get("stays")
        assert caught.value.code is ProblemCode.site_unreachable
    user.when("stays", lambda c: c.phase == "running")


# -------------------------------------------------------------------- the door
@pytest.fixture
def door(user: User) -> tuple[str, int]:
    user.client.call("listClusters", ClusterList)
    return user.pod()["status"]["podIP"], 8786


def answer_to(address: tuple[str, int], context: ssl.SSLContext | None, sent: bytes) -> bytes:
    """Return what comes back, as far as anything does."""
    with socket.create_connection(address, timeout=20) as raw:
        connection = context.wrap_socket(raw, server_hostname="keeper") if context else raw
        connection.sendall(sent)
        got = b""
        while data := connection.recv(65536):
            got += data
        return got


REQUEST = b"GET /clusters HTTP/1.1\r\nHost: keeper\r\nConnection: close\r\n\r\n"


def let_in(address: tuple[str, int], context: ssl.SSLContext | None) -> bool:
    """Tell whether a request is answered by the keeper; of TLS 1.3, a refusal comes after the client's own handshake."""
    try:
        got = answer_to(address, context, REQUEST)
    except (ssl.SSLError, ConnectionError):
        return False
    assert not got or got.startswith(b"HTTP/1.1 200")
    return bool(got)


def trusting(authority: identity.Authority | None = None, spoken: str = "http/1.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=(authority or identity.authority()).pem.decode())
    context.set_alpn_protocols([spoken])
    return context


def with_certificate(context: ssl.SSLContext, pem: bytes, folder: Path) -> ssl.SSLContext:
    path = folder / f"guest-{len(pem)}-{id(context)}.pem"
    path.write_bytes(pem)
    context.load_cert_chain(path)
    return context


def test_only_the_holder_of_the_users_own_key_comes_in(
    door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = identity.authority()
    good = with_certificate(trusting(), authority.guest(), tmp_path)
    assert let_in(door, good)

    assert not let_in(door, trusting())
    # another user, whose data folder has an authority of its own
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("JUPYTER_DATA_DIR", str(tmp_path / "of-another"))
        other = identity.authority().guest()
    assert not let_in(door, with_certificate(trusting(authority), other, tmp_path))
    # the door's own certificate is none of a guest
    assert not let_in(door, with_certificate(trusting(authority), authority.door(), tmp_path))


def test_neither_plain_http_nor_old_tls_comes_in(door: Any, tmp_path: Path) -> None:
    assert not let_in(door, None)
    old = with_certificate(trusting(), identity.authority().guest(), tmp_path)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert not let_in(door, old)
    # nor is anything else spoken
    strange = with_certificate(trusting(spoken="h2"), identity.authority().guest(), tmp_path)
    assert not let_in(door, strange)


def test_the_doors_own_requests_refuse_what_they_do_not_know(door: Any, tmp_path: Path) -> None:
    def ask(sent: bytes) -> Any:
        context = with_certificate(trusting(spoken="offload-door/1"), identity.authority().guest(), tmp_path)
        return json.loads(answer_to(door, context, sent) or b"null")

    assert ask(b'{"op": "files", "cluster": "../../etc"}\n')["status"] == 404
    assert ask(b'{"op": "dashboard", "cluster": "nobody"}\n')["problem"]["code"] == "unknown-cluster"
    assert ask(b'{"op": "run"}\n')["status"] == 422
    assert ask(b"[]\n")["status"] == 422
    assert ask(b"nonsense\n") is None


def test_a_pod_that_is_not_this_data_folders_is_not_trusted(user: User, door: Any) -> None:
    """Somebody who may make pods in the namespace puts up a keeper of this name."""
    user.doorway.kill()
    (user.folder / "data" / "offload" / "door" / "authority.pem").unlink()
    error = refused(user)
    assert "does not belong to this data folder" in error.message
    assert f"delete pod {user.name}" in str(error.hint)


def test_whoever_stays_at_the_door_keeps_nobody_out(user: User, door: Any) -> None:
    waiting = [socket.create_connection(door, timeout=10) for _ in range(60)]
    try:
        assert user.client.call("listClusters", ClusterList).clusters == []
        for one in waiting:
            one.settimeout(30)
            assert one.recv(1) == b""
    finally:
        for one in waiting:
            one.close()
