"""Requests to identity providers: bounded in time and size, and every failure is the provider's and not the asker's."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ..problems import ProviderDown

logger = logging.getLogger("offload.relay")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """Status and JSON of an answer; ``body`` is None where there was no JSON."""

    status: int
    body: Any


class Web:
    """A client of one provider.

    Args:
        name: of the provider, for the log.
        prefix: its identities begin so.
        ca_file: authority of its certificate; None means the system's.
        timeout_s: of a whole request.
        environment: whether proxies of the process's environment are used.
    """

    def __init__(
        self, name: str, prefix: str, ca_file: Path | None, timeout_s: float, *, environment: bool = False
    ) -> None:
        self._name = name
        self._prefix = prefix
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._environment = environment
        self._http: httpx.AsyncClient | None = None

    async def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Any = None) -> Answer:
        """Return the answer to a request.

        Raises:
            ProviderDown: there was none in time, or it was none of this world.
        """
        try:
            if self._http is None:
                self._http = await asyncio.to_thread(self._connect)
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(method, url, headers=headers, json=body) as answer,
            ):
                return Answer(answer.status_code, _json(await _bounded(answer)))
        except TimeoutError as error:
            raise self.down(f"no answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise self.down(str(error) or type(error).__name__) from error

    def down(self, why: str) -> ProviderDown:
        """Return the problem that it does not work now, after the cause was written to the log."""
        logger.error(
            "identity-provider-down provider=%s reason=%s", self._name, why,
            extra={"event": "identity-provider-down", "provider": self._name, "reason": why},
        )  # fmt: skip
        return ProviderDown((self._prefix,), f"{self._name} does not say who you are.")

    async def close(self) -> None:
        """Close its connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def _connect(self) -> httpx.AsyncClient:
        context = ssl.create_default_context(cafile=self._ca_file)
        return httpx.AsyncClient(verify=context, timeout=self._timeout_s, trust_env=self._environment)


async def _bounded(answer: httpx.Response) -> bytes:
    content = b""
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > _MOST_BYTES:
            raise ValueError(f"the answer is longer than {_MOST_BYTES} bytes")
    return content


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
