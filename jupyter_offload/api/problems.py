"""The error tree. Each class has a code, an HTTP status and says whether trying again can help.

    OffloadError
     |- BadInput            400/422  the request itself
     |   |- Forbidden       403      not logged in, or the authorizer says no
     |   |- NotFound        404
     |   |- Conflict        409
     |   |- Stale           412      If-Match does not name the present revision
     |   |- TooLarge        413
     |- NotNow              409      right request, wrong phase
     |- Unavailable         503      transient: keeper or scheduler does not answer
     |- Broken              500      our own mistake, or the disk

Domain errors become HTTP in exactly one place (``keeper/http.py``) and come back as the same classes in ``api/client.py``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the Jupyter server uses this module and must not load pydantic
    from .models import FieldProblem, ProblemDocument


class ProblemCode(StrEnum):
    """Stable names of errors; each has an entry in ``docs/reference/errors.md``."""

    bad_json = "bad-json"
    invalid = "invalid"
    unknown_site = "unknown-site"
    unknown_profile = "unknown-profile"
    unknown_cluster = "unknown-cluster"
    unknown_environment = "unknown-environment"
    unknown_log = "unknown-log"
    unknown_route = "unknown-route"
    environment_unusable = "environment-unusable"
    site_unhealthy = "site-unhealthy"
    limit_exceeded = "limit-exceeded"
    name_in_use = "name-in-use"
    id_in_use = "id-in-use"
    stale_revision = "stale-revision"
    not_running = "not-running"
    finished = "finished"
    forbidden = "forbidden"
    too_large = "too-large"
    keeper_unreachable = "keeper-unreachable"
    keeper_outdated = "keeper-outdated"
    scheduler_unreachable = "scheduler-unreachable"
    stale_connection = "stale-connection"
    relay_unreachable = "relay-unreachable"
    site_unreachable = "site-unreachable"
    site_refused = "site-refused"
    access_denied = "access-denied"
    quota_exceeded = "quota-exceeded"
    unknown_image = "unknown-image"
    store_corrupt = "store-corrupt"
    store_newer = "store-newer"
    disk_full = "disk-full"
    timeout = "timeout"
    internal = "internal"


class OffloadError(Exception):
    """Base of all errors users may see: a sentence, the field and value at fault, and the remedy."""

    status = 500
    transient = False

    def __init__(
        self,
        code: ProblemCode | str,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        errors: list[FieldProblem] | None = None,
        request_id: str | None = None,
    ) -> None:
        self.code = ProblemCode(code)
        self.message = message
        self.field = field
        self.hint = hint
        self.errors = errors or []
        self.request_id = request_id
        super().__init__(message if hint is None else f"{message} {hint}")

    def as_dict(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem+json form as plain values, for doors that must not load pydantic."""
        return {
            "type": "about:blank",
            "title": self.code.value.replace("-", " "),
            "status": self.status,
            "code": self.code.value,
            "detail": self.message,
            "field": self.field,
            "hint": self.hint,
            "transient": self.transient,
            "request_id": request_id or self.request_id,
            "errors": self.errors,
        }

    def document(self, request_id: str | None = None) -> ProblemDocument:
        """Return the problem+json form."""
        from .models import ProblemDocument

        return ProblemDocument(**self.as_dict(request_id))


class BadInput(OffloadError):
    """The request is wrong: ``field`` names the place, ``hint`` the remedy."""

    status = 422


class Forbidden(BadInput):
    """The Jupyter server does not let this user do that."""

    status = 403


class NotFound(BadInput):
    """What the request names does not exist."""

    status = 404


class Conflict(BadInput):
    """Something else already holds that name or id."""

    status = 409


class Stale(BadInput):
    """The record changed since it was read (If-Match)."""

    status = 412


class TooLarge(BadInput):
    """The request body is larger than any request of this API."""

    status = 413


class NotNow(OffloadError):
    """A right request in the wrong phase, such as scaling a finished cluster."""

    status = 409


class Unavailable(OffloadError):
    """Somebody does not answer; trying again may help."""

    status = 503
    transient = True


class Broken(OffloadError):
    """Our own mistake, a full disk, or a database we must not touch."""

    status = 500


_BY_STATUS = {c.status: c for c in (Forbidden, NotFound, Stale, TooLarge, BadInput, Unavailable)}


def from_document(document: ProblemDocument) -> OffloadError:
    """Return the error that a problem document stands for, as the side that raised it had it."""
    kind: type[OffloadError] = _BY_STATUS.get(document.status, Broken)
    if document.status == 409:
        finished = document.code in (ProblemCode.not_running, ProblemCode.finished)
        kind = NotNow if finished else Conflict
    # a newer keeper may have codes that this release does not know
    code = document.code if document.code in set(ProblemCode) else ProblemCode.internal
    return kind(
        code, document.detail, field=document.field, hint=document.hint,
        errors=document.errors, request_id=document.request_id,
    )  # fmt: skip
