"""Base of our API handlers: login, the authorizer and XSRF as Jupyter has them, errors as problem+json."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado.web import HTTPError

from ..api.problems import BadInput, Broken, Forbidden, NotFound, OffloadError, ProblemCode, TooLarge

RESOURCE = "offload"
PROBLEM_TYPE = "application/problem+json"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


def _from_http(error: HTTPError) -> OffloadError:
    """Return what Jupyter and Tornado refuse, in our words."""
    if error.status_code == 403:
        hint = "Log in again, and reload the page; requests that change something need the X-XSRFToken header."
        said = str(error.log_message or "").strip()
        return Forbidden(
            ProblemCode.forbidden, f"The Jupyter server refuses this request{said and ': ' + said}.", hint=hint
        )
    if error.status_code in (404, 405):
        return NotFound(ProblemCode.unknown_route, "There is no such operation.", hint="See offload/v1/schema.")
    if error.status_code == 413:
        return TooLarge(ProblemCode.too_large, str(error.log_message))
    return BadInput(ProblemCode.invalid, str(error.log_message or error.reason or "bad request"))


class ProblemHandler(ExtensionHandlerMixin, APIHandler):
    """Answers errors as every other door shows them, and carries a request id from browser to keeper and back."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Give the request its id, then let Jupyter authenticate it."""
        given = self.request.headers.get("X-Request-ID", "")
        self.request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)
        self.set_header("X-Request-ID", self.request_id)
        await super().prepare()

    async def authorize(self, action: str) -> None:
        """Ask the Jupyter authorizer. The decorator ``@authorized`` cannot: it remembers the first action for ever.

        Raises:
            Forbidden: it says no.
        """
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, RESOURCE)):
            raise Forbidden(
                ProblemCode.forbidden,
                f"You may not {action} on this server's {RESOURCE} resource.",
                hint="Ask the owner of this Jupyter server for the right to do it.",
            )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write any exception as a problem document."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, HTTPError):
            error = _from_http(error)
        elif not isinstance(error, OffloadError):
            error = Broken(ProblemCode.internal, "The Jupyter server failed; its log says why.")
        # A refusal keeps Jupyter's status (405, 400); ours have their own.
        status = error.status if status_code == 500 else status_code
        document = {**error.as_dict(self.request_id), "status": status}
        self.set_status(status)
        self.set_header("X-Request-ID", self.request_id)  # Tornado cleared it
        self.finish(json.dumps(document), set_content_type=PROBLEM_TYPE)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log our own errors in one line; a stack says nothing that the sentence does not."""
        if isinstance(value, OffloadError):
            self.log.log(
                40 if value.status >= 500 else 20,
                "offload %s: %s: %s",
                self.request_id,
                value.code.value,
                value.message,
            )
        else:
            super().log_exception(typ, value, tb)
