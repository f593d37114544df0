"""Requests to a Kubernetes API server: raw objects in and out, every call bounded in time, refusals as our own errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...api.problems import OffloadError, ProblemCode, Unavailable
from .connection import Connection
from .options import KubernetesOptions

#: Longest wait for an answer unless a caller says otherwise.
TIMEOUT_S = 10.0
_JSON = "application/json"
#: How PATCH merges: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
_MERGE = "application/merge-patch+json"


class KubeApi:
    """The API server as one site uses it. Sites of the same kubeconfig and context share one connection.

    Make it with ``of`` (blocking: it reads the kubeconfig), and ``close`` it.
    """

    def __init__(self, connection: Connection, namespace: str | None) -> None:
        self.connection = connection
        self._namespace = namespace
        self._closed = False

    @classmethod
    def of(cls, options: KubernetesOptions) -> KubeApi:
        """Return the API as these options reach it. A kubeconfig that cannot be read is an error of the first request."""
        return cls(Connection.take((options.kubeconfig_path(), options.context)), options.namespace)

    @property
    def namespace(self) -> str:
        """Where the pods of this site are.

        Raises:
            OffloadError: the options name none, and the account, which does, cannot be read.
        """
        if self._namespace is not None:
            return self._namespace
        if self.connection.account is None:
            raise self.connection.problem or Unavailable(ProblemCode.site_unreachable, "The account was not read yet.")
        return self.connection.account.namespace

    @property
    def account_source(self) -> str:
        """Where the credentials come from, for people."""
        account = self.connection.account
        return account.source if account else "no account"

    @property
    def server_time_offset_s(self) -> float | None:
        """Seconds that the server's clock is ahead of ours, to about a second; None until it answered once."""
        return self.connection.server_time_offset_s

    def path(self, resource: str, name: str = "", subresource: str = "") -> str:
        """Return the path of core objects in the namespace, such as ``path("pods", "a", "log")``."""
        parts = ["/api/v1/namespaces", self.namespace, resource, name, subresource]
        return "/".join(p for p in parts if p)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | list[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
        content_type: str | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the object that answers it; a PATCH merges unless ``content_type`` says otherwise.

        Raises:
            Unavailable: nobody answers, or not now (``site-unreachable``); what is there is unknown then, not gone.
            Forbidden: the account may not do that (``access-denied``); the hint grants it.
            BadInput: a quota (``quota-exceeded``) or a rule of the site (``site-refused``) says no.
            NotFound: there is no such object.
            Conflict: there is one already, or it changed meanwhile.
        """
        content = None if body is None else json.dumps(body).encode()
        kind = content_type or (_MERGE if method == "PATCH" else _JSON)
        answer = await self.connection.send(
            method, path, params=params, content=content, content_type=kind, timeout_s=timeout_s
        )
        what = f"{method} {path.rsplit('/api', 1)[-1]}"
        if answer.status_code >= 300:
            raise self.connection.error(answer, what)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            server = self.connection.account.server if self.connection.account else "?"
            hint = "Something else answers there: check the server in the kubeconfig."
            raise Unavailable(ProblemCode.site_unreachable, f"{server} answered {what} with no object.", hint=hint)
        return found

    async def text(self, path: str, params: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S) -> str:
        """Return an answer that is text, such as a log. Raises as ``request``."""
        answer = await self.connection.send(
            "GET", path, params=params, content=None, content_type=_JSON, timeout_s=timeout_s
        )
        if answer.status_code >= 300:
            raise self.connection.error(answer, f"GET {path}")
        return answer.text

    async def reach(self) -> OffloadError | None:
        """Return why the API server cannot be used, None if it answers this account."""
        try:
            await self.request("GET", "/version")
        except OffloadError as error:
            return error
        return None

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        if not self._closed:
            self._closed = True
            await self.connection.let_go()
