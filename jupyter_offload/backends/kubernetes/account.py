"""Who we are to an API server: a kubeconfig, or the account of the pod that we run in. Read anew whenever it may have changed.

Formats: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/ and
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/ . Blocking; call in a thread.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ...api.problems import BadInput, Forbidden, OffloadError, ProblemCode

#: Where a pod finds its account.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: No honest kubeconfig or token is longer.
_MAXIMUM_BYTES = 4 << 20


@dataclass(frozen=True)
class Account:
    """Where an API server is and who we are there. Secrets stand in no representation of it.

    Attributes:
        source: for people, such as ``kubeconfig /home/ann/.kube/config (context work)``.
        plugin: the ``exec`` part of a kubeconfig: a program that prints credentials.
    """

    source: str
    server: str
    namespace: str
    user: str = ""
    ca_pem: str | None = None
    insecure: bool = False
    tls_server_name: str | None = None
    proxy: str | None = None
    token: str | None = field(default=None, repr=False)
    certificate_pem: str | None = field(default=None, repr=False)
    key_pem: str | None = field(default=None, repr=False)
    plugin: Mapping[str, Any] | None = field(default=None, repr=False)
    file: Path | None = None

    def ssl_context(self, certificate_pem: str | None = None, key_pem: str | None = None) -> ssl.SSLContext:
        """Return the TLS of connections, with a client certificate if there is one. Blocking.

        Raises:
            OffloadError: a certificate or key is none.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.insecure:  # the administrator's own choice, as with kubectl; the doctor says so
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = certificate_pem or self.certificate_pem, key_pem or self.key_pem
        try:
            if self.ca_pem is not None:
                context.load_verify_locations(cadata=self.ca_pem)
            else:
                context.load_default_certs()
            if certificate and key:
                _load_chain(context, certificate, key)
        except (ssl.SSLError, ValueError) as error:
            raise _refused(f"A certificate or key of {self.source} cannot be used: {error}.", self.file) from error
        return context


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load what OpenSSL takes only from a file: private, and gone at once."""
    with tempfile.NamedTemporaryFile("w", prefix="offload-", suffix=".pem") as file:
        file.write(f"{certificate.strip()}\n{key.strip()}\n")
        file.flush()
        context.load_cert_chain(file.name, password="")


def load_account(kubeconfig: Path | None = None, context: str | None = None) -> Account:
    """Return the account of a kubeconfig; without one that of this pod, else the user's own kubeconfig.

    Raises:
        BadInput: there is none, or it is not a kubeconfig (``access-denied``); the hint says what to do.
    """
    if kubeconfig is not None:
        return _from_kubeconfig([kubeconfig], context)
    if context is None and (SERVICE_ACCOUNT / "token").exists() and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return _of_this_pod()
    listed = os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(p).expanduser() for p in listed.split(os.pathsep) if p]
    return _from_kubeconfig([p for p in paths if p.exists()] or paths[:1], context)


def _refused(message: str, file: Path | None) -> OffloadError:
    hint = f"Mend {file}, and try: kubectl --kubeconfig {file} get pods" if file else "Ask the cluster's administrator."
    return BadInput(ProblemCode.access_denied, message, hint=hint)


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAXIMUM_BYTES + 1)
        if len(content) > _MAXIMUM_BYTES:
            raise _refused(f"{what} {path} is larger than 4 MiB and so none.", path)
        return content.decode()
    except FileNotFoundError as error:
        hint = f"Put it there, or name another one: options.kubeconfig. Check with: ls -l {path}"
        raise BadInput(ProblemCode.access_denied, f"There is no {what} {path}.", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Forbidden(
            ProblemCode.access_denied, f"The {what} {path} cannot be read: {why}.", hint=f"Check with: ls -l {path}"
        ) from error


def _of_this_pod() -> Account:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = SERVICE_ACCOUNT / "namespace"
    return Account(
        source="the service account of this pod",
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=_read(namespace, "namespace file").strip() if namespace.exists() else "default",
        ca_pem=_read(SERVICE_ACCOUNT / "ca.crt", "CA file"),
        token=_read(SERVICE_ACCOUNT / "token", "token file").strip(),
    )


@dataclass(frozen=True)
class _Entry:
    """A named part of a kubeconfig, and the folder that its relative paths begin in."""

    value: Mapping[str, Any]
    file: Path

    def text(self, name: str) -> str | None:
        """Return a certificate or key that stands in the kubeconfig or in a file beside it."""
        data, path = self.value.get(f"{name}-data"), self.value.get(name)
        if data:
            try:
                return base64.b64decode(str(data), validate=True).decode()
            except (binascii.Error, ValueError) as error:
                raise _refused(f"{name}-data in {self.file} is not base64 of a text.", self.file) from error
        return _read(self._path(str(path)), name) if path else None

    def token(self) -> str | None:
        path = self.value.get("tokenFile")  # wins over token, as with kubectl: it is renewed
        if path:
            return _read(self._path(str(path)), "token file").strip()
        return str(self.value["token"]).strip() if self.value.get("token") else None

    def _path(self, path: str) -> Path:
        return self.file.parent / Path(path).expanduser()


def _entries(files: Sequence[Path], kind: str) -> dict[str, _Entry]:
    """Return the clusters, users or contexts of several kubeconfigs; the first of a name wins."""
    found: dict[str, _Entry] = {}
    for file in files:
        listed = _document(file).get(f"{kind}s")
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, Mapping) and isinstance(item.get(kind) or {}, Mapping):
                found.setdefault(str(item.get("name")), _Entry(item.get(kind) or {}, file))
    return found


def _document(file: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(_read(file, "kubeconfig"))
    except (yaml.YAMLError, RecursionError) as error:
        raise _refused(f"{file} is not YAML, and so no kubeconfig.", file) from error
    if not isinstance(data, Mapping):
        raise _refused(f"{file} is no kubeconfig.", file)
    return data


def _from_kubeconfig(files: Sequence[Path], context: str | None) -> Account:
    first = files[0]
    contexts = _entries(files, "context")
    current = context or next((c for f in files if (c := _document(f).get("current-context"))), None)
    if current is None:
        raise _refused(f"{first} names no current context.", first)
    if current not in contexts:
        known = ", ".join(contexts) or "none"
        raise BadInput(
            ProblemCode.access_denied, f"There is no context {current!r} in {first}.", field="options.context",
            hint=f"Contexts there: {known}. Name one: options.context",
        )  # fmt: skip
    chosen = contexts[current].value
    clusters, users = _entries(files, "cluster"), _entries(files, "user")
    cluster, user = clusters.get(str(chosen.get("cluster"))), users.get(str(chosen.get("user")))
    if cluster is None or not cluster.value.get("server"):
        raise _refused(f"Context {current!r} in {first} names no cluster with a server.", first)
    user = user or _Entry({}, first)
    _check_kind(user, current)
    value = cluster.value
    return Account(
        source=f"kubeconfig {contexts[current].file} (context {current})",
        server=str(value["server"]).rstrip("/"),
        namespace=str(chosen.get("namespace") or "default"),
        user=str(chosen.get("user") or ""),
        ca_pem=cluster.text("certificate-authority"),
        insecure=value.get("insecure-skip-tls-verify") is True,
        tls_server_name=value.get("tls-server-name"),
        proxy=value.get("proxy-url"),
        token=user.token(),
        certificate_pem=user.text("client-certificate"),
        key_pem=user.text("client-key"),
        plugin=user.value.get("exec"),
        file=contexts[current].file,
    )


def _check_kind(user: _Entry, context: str) -> None:
    if (plugin := user.value.get("exec")) is not None:
        args = plugin.get("args") or [] if isinstance(plugin, Mapping) else None
        env = plugin.get("env") or [] if isinstance(plugin, Mapping) else None
        pairs = isinstance(env, list) and all(isinstance(e, Mapping) and {"name", "value"} <= set(e) for e in env)
        if not isinstance(args, list) or not pairs:
            raise _refused(
                f"The 'exec' of context {context!r} in {user.file} is not written as Kubernetes wants it.", user.file
            )
    for old in ("auth-provider", "username", "password"):
        if old in user.value:
            message = f"Context {context!r} in {user.file} uses {old!r}, which Kubernetes no longer has."
            hint = (
                "Use a token, a client certificate or an exec plugin; ask the cluster's administrator for a kubeconfig."
            )
            raise BadInput(ProblemCode.access_denied, message, hint=hint)
