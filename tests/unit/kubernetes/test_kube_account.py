"""Accounts from kubeconfigs, from the pod, and from programs; secrets stay out of everything that is shown."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jupyter_offload.api.problems import OffloadError, ProblemCode
from jupyter_offload.backends.kubernetes import account as accounts
from jupyter_offload.backends.kubernetes import exec_plugin
from jupyter_offload.backends.kubernetes.account import Account, load_account
from jupyter_offload.backends.kubernetes.exec_plugin import run_plugin

TOKEN = "s3cret-token"


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account of the machine that the tests run on."""
    monkeypatch.setattr(accounts, "SERVICE_ACCOUNT", tmp_path / "no-service-account")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)


def pair() -> tuple[str, str]:
    """Return a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    pem = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode(), private.decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(
    path: Path, *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **context: str
) -> Path:
    """Write a kubeconfig with the contexts ``work`` (current) and ``other``."""
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "work",
        "clusters": [{"name": "k", "cluster": {"server": "https://k.example:6443/", **(cluster or {})}}],
        "users": [{"name": "ann", "user": {"token": TOKEN} if user is None else user}],
        "contexts": [
            {"name": "work", "context": {"cluster": "k", "user": "ann", **context}},
            {"name": "other", "context": {"cluster": "k", "user": "nobody", "namespace": "elsewhere"}},
        ],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def refused(path: Path | None, context: str | None = None) -> OffloadError:
    with pytest.raises(OffloadError) as caught:
        load_account(path, context)
    assert caught.value.code is ProblemCode.access_denied
    assert caught.value.hint
    return caught.value


def test_a_kubeconfig(tmp_path: Path) -> None:
    certificate, key = pair()
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    ca = {"certificate-authority-data": b64(certificate), "tls-server-name": "api", "proxy-url": "http://proxy:3128"}
    found = load_account(write(tmp_path / "config", user=user, cluster=ca, namespace="jupyter"))
    assert (found.server, found.namespace, found.user) == ("https://k.example:6443", "jupyter", "ann")
    assert (found.ca_pem, found.certificate_pem, found.key_pem) == (certificate, certificate, key)
    assert (found.tls_server_name, found.proxy) == ("api", "http://proxy:3128")
    assert str(tmp_path / "config") in found.source
    assert "work" in found.source


def test_keys_reach_tls_and_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = pair()
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    found = Account("x", "https://k", "n", ca_pem=certificate, certificate_pem=certificate, key_pem=key)
    context = found.ssl_context()
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 1
    assert list(folder.iterdir()) == []
    with pytest.raises(OffloadError, match="cannot be used"):
        Account("x", "https://k", "n", certificate_pem=certificate, key_pem="nonsense").ssl_context()
    with pytest.raises(OffloadError, match="cannot be used"):
        Account("x", "https://k", "n", ca_pem="nonsense").ssl_context()
    assert list(folder.iterdir()) == []


def test_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    certificate, key = pair()
    (tmp_path / "ca.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    user = {
        "client-certificate": "ca.pem",
        "client-key": str(tmp_path / "key.pem"),
        "tokenFile": "token",
        "token": "older",
    }
    found = load_account(write(tmp_path / "config", user=user, cluster={"certificate-authority": "ca.pem"}))
    assert (found.ca_pem, found.key_pem, found.token) == (certificate, key, TOKEN)
    assert found.namespace == "default"


def test_another_context(tmp_path: Path) -> None:
    path = write(tmp_path / "config")
    found = load_account(path, "other")
    assert (found.namespace, found.token) == ("elsewhere", None)
    assert "work, other" in str(refused(path, "third").hint)


def test_the_users_own_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ".kube/config" in refused(None).message
    write(tmp_path / "home" / ".kube" / "config", namespace="of-home")
    assert load_account().namespace == "of-home"
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"current-context": "other"}))
    second = write(tmp_path / "second")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}")
    assert load_account().namespace == "elsewhere"


def test_the_account_of_this_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = pair()
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    for name, text in (("token", f"{TOKEN}\n"), ("ca.crt", certificate), ("namespace", "jupyter")):
        (folder / name).write_text(text)
    monkeypatch.setattr(accounts, "SERVICE_ACCOUNT", folder)
    write(tmp_path / "home" / ".kube" / "config", namespace="of-home")
    assert load_account().namespace == "of-home", "not in a cluster"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = load_account()
    assert (found.server, found.namespace, found.token) == ("https://[fd00::1]:443", "jupyter", TOKEN)
    assert found.ca_pem == certificate
    # a kubeconfig that is named wins
    assert load_account(tmp_path / "home" / ".kube" / "config").namespace == "of-home"


@pytest.mark.parametrize("user", [{"auth-provider": {"name": "oidc"}}, {"username": "ann", "password": "x"}])
def test_what_kubernetes_no_longer_has(tmp_path: Path, user: dict[str, Any]) -> None:
    assert "no longer has" in refused(write(tmp_path / "config", user=user)).message


@pytest.mark.parametrize("plugin", [3, {"args": 3}, {"env": [3]}, {"env": [{"name": "A"}]}, {"env": "A=1"}])
def test_a_program_that_is_not_written_as_it_must_be(tmp_path: Path, plugin: Any) -> None:
    assert "'exec'" in refused(write(tmp_path / "config", user={"exec": plugin})).message


@pytest.mark.parametrize(
    "text",
    ["", "[", "- 1", "current-context: work", "{}", "contexts: 3", "current-context: a\ncontexts: [{name: a}]",
     "current-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: [{name: b, cluster: {}}]",
     "current-context: a\ncontexts: [3, {name: a, context: [1]}]"],
)  # fmt: skip
def test_files_that_are_no_kubeconfig(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    refused(path)


def test_data_that_is_no_base64(tmp_path: Path) -> None:
    assert "base64" in refused(write(tmp_path / "config", user={"client-key-data": "§"})).message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "token" in refused(write(tmp_path / "config", user={"tokenFile": "missing"})).message
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "cannot be read" in refused(folder).message


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    certificate, key = pair()
    user = {"token": TOKEN, "client-certificate-data": b64(certificate), "client-key-data": b64(key),
            "exec": {"command": "x", "env": [{"name": "A", "value": "hidden"}]}}  # fmt: skip
    shown = repr(load_account(write(tmp_path / "config", user=user)))
    assert TOKEN not in shown and "PRIVATE" not in shown and "hidden" not in shown
    assert TOKEN not in repr(exec_plugin.Printed(TOKEN))


# ---------------------------------------------------------------- programs
def program(folder: Path, body: str) -> Path:
    path = folder / "login"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def with_plugin(folder: Path, body: str, **more: Any) -> Account:
    program(folder, body)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", **more}
    return load_account(write(folder / "config", user={"exec": plugin}))


async def test_a_program_prints_a_token(tmp_path: Path) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    body = (
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "token = '-'.join([*sys.argv[1:], os.environ['WHO'], info['kind'], str(info['spec']['interactive'])])\n"
        f"print(json.dumps({{'status': {{'token': token, 'expirationTimestamp': {ends.isoformat()!r}}}}}))"
    )
    account = with_plugin(tmp_path, body, args=["get", "token"], env=[{"name": "WHO", "value": "ann"}])
    printed = await run_plugin(account)
    assert printed.token == "get-token-ann-ExecCredential-False"
    assert printed.expires_at == pytest.approx(ends.timestamp())
    assert printed.fresh()
    assert not exec_plugin.Printed("x", expires_at=time.time() + 5).fresh()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sys.exit('please log in')", "please log in"),
        ("print('hello')", "no ExecCredential"),
        ("print('[]')", "no ExecCredential"),
        ("print(json.dumps({'status': None}))", "no ExecCredential"),
        ("print(json.dumps({'status': {}}))", "neither a token nor a certificate"),
        ("print(json.dumps({'status': {'token': 'x', 'expirationTimestamp': 'soon'}}))", "no ExecCredential"),
    ],
)
async def test_a_program_that_fails(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(OffloadError, match=says) as caught:
        await run_plugin(with_plugin(tmp_path, body))
    assert str(tmp_path / "login") in str(caught.value.hint)


async def test_a_program_that_is_missing_or_speaks_another_version(tmp_path: Path) -> None:
    account = with_plugin(tmp_path, "")
    (tmp_path / "login").unlink()
    with pytest.raises(OffloadError, match="No such file"):
        await run_plugin(account)
    with pytest.raises(OffloadError, match="v1alpha1"):
        await run_plugin(with_plugin(tmp_path, "", apiVersion="client.authentication.k8s.io/v1alpha1"))


async def test_a_program_that_waits_for_a_person_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "TIMEOUT_S", 0.5)
    body = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); sys.stdin.read(); time.sleep(600)"
    with pytest.raises(OffloadError, match="printed no credentials within") as caught:
        monkeypatch.setattr(exec_plugin, "TIMEOUT_S", 5.0)
        await run_plugin(with_plugin(tmp_path, body))
    assert caught.value.transient
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while _lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc").exists()


def test_printed_json_is_not_logged_in_errors(tmp_path: Path) -> None:
    assert TOKEN not in str(refused(write(tmp_path / "config", user={"token": TOKEN, "client-key-data": "§"})))
    assert json.dumps(TOKEN) not in refused(write(tmp_path / "c", user={"token": TOKEN, "tokenFile": "x"})).message
