"""What an API server's refusal means, as an error that a person can act on. Pure.

Its bodies are ``Status`` objects: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...api.problems import BadInput, Conflict, Forbidden, NotFound, OffloadError, ProblemCode, Unavailable
from .rbac import denied_of

_QUOTA = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.+), used: (?P<used>.+), limited: (?P<limit>.+)$"
)
_QUOTA_NEEDS = re.compile(r"failed quota: (?P<quota>[^:]+): must specify (?P<what>.+)$")
_BUSY = "The API server is busy or restarting; this is tried again."


def error_of(status: int, body: Mapping[str, Any], what: str, source: str) -> OffloadError:
    """Return the error that an answer stands for.

    Args:
        status: of HTTP.
        body: the ``Status`` object, or nothing.
        what: was asked, for people, such as ``POST pods``.
        source: where the account comes from, for people.
    """
    message = str(body.get("message") or "").strip()
    if status == 401:
        return Forbidden(
            ProblemCode.access_denied, f"The API server does not accept the credentials of {source}.",
            hint="They may have expired: log in again, or ask for new ones. Check with: kubectl auth whoami",
        )  # fmt: skip
    if status == 403:
        return _forbidden(message, what)
    if status == 404:
        return NotFound(ProblemCode.site_refused, _sentence(message or f"{what}: it is not there"))
    if status == 409:
        return Conflict(ProblemCode.site_refused, _sentence(message or f"{what}: it is there already"))
    if status in (410, 429) or status >= 500:
        said = f": {message}" if message else ""
        return Unavailable(
            ProblemCode.site_unreachable, f"The API server answered {status} to {what}{said}.", hint=_BUSY
        )
    return _refused(message or f"The API server answered {status} to {what}")


def _sentence(message: str) -> str:
    text = f"{message[:1].upper()}{message[1:]}"
    return text if text.endswith((".", "!")) else f"{text}."


def _forbidden(message: str, what: str) -> OffloadError:
    if (denied := denied_of(message)) is not None:
        return Forbidden(ProblemCode.access_denied, denied.sentence, hint=denied.remedy)
    if (over := _QUOTA.search(message)) is not None:
        text = (
            f"Quota {over['quota']!r} does not allow it: asked {over['asked']}; used {over['used']} of {over['limit']}."
        )
        hint = "Stop workers of this namespace, ask for smaller ones, or have the administrator raise the quota."
        return BadInput(ProblemCode.quota_exceeded, text, hint=hint)
    if (needs := _QUOTA_NEEDS.search(message)) is not None:
        text = f"Quota {needs['quota']!r} wants every pod to name {needs['what']}, which ours do not."
        return BadInput(ProblemCode.quota_exceeded, text, hint="Have the administrator take that out of the quota.")
    return _refused(message or f"The API server forbids {what}")


def _refused(message: str) -> OffloadError:
    hint = "It is a rule of the cluster or of the site: see what it names, and ask the administrator."
    if "violates PodSecurity" in message:
        hint = (
            "Host paths need the level 'privileged': take them out of options.host_paths, or the administrator runs:"
            " kubectl label namespace <namespace> pod-security.kubernetes.io/enforce=privileged --overwrite"
        )
    elif "being terminated" in message:
        hint = "Use another namespace: options.namespace"
    elif re.search(r"(maximum|minimum) (cpu|memory|.+) usage per", message):
        hint = "A LimitRange of the namespace says so: choose another worker size, or have the administrator change it."
    return BadInput(ProblemCode.site_refused, _sentence(message), hint=hint)
