"""Why a site did not do what it was asked for, and why the end of a cluster takes long. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..api.models import Reason, ReasonCode
from ..api.problems import OffloadError
from ..api.units import format_duration
from .store.records import Record

#: What is left at a site that could not be asked since the cluster ends.
UNSEEN = "whatever it has there: the site cannot be asked now, and deleting goes on as soon as it answers"
#: How many things are named.
_NAMED = 3
#: A deletion that takes as long as this is usual.
_USUAL_S = 60.0


def left_at_site(left: Sequence[str], waited_s: float) -> Reason | None:
    """Return what is left at the site, as the reason of a cluster that stops; None when it is nothing.

    Args:
        left: what ``Backend.cancel`` says.
        waited_s: since when it is so.
    """
    if not left:
        return None
    named = "; ".join(left[:_NAMED]) + (f"; and {len(left) - _NAMED} more" if len(left) > _NAMED else "")
    # whole minutes: the record changes, and everybody is told, only when the sentence does
    since = f" for {format_duration(60 * int(waited_s // 60))}" if waited_s >= 60 else ""
    hint = "Deleting goes on until the site confirms it."
    if waited_s >= _USUAL_S:
        hint += (
            " The site takes unusually long: look at its health, and ask its administrator about what is named here."
        )
    return Reason(
        code=ReasonCode.left_at_site, message=f"The site has not confirmed the end of what is left there{since}: {named}.",
        hint=hint,
    )  # fmt: skip


def cannot_ask(error: OffloadError | TimeoutError, timeout_s: float) -> Reason:
    """Return that the site cannot be asked to delete, which goes on as soon as it can."""
    told = error.message if isinstance(error, OffloadError) else f"No answer within {timeout_s:.0f} s."
    transient = not isinstance(error, OffloadError) or error.transient
    hint = error.hint if isinstance(error, OffloadError) and not transient else None
    return Reason(
        code=ReasonCode.cannot_see, message=f"The site cannot be asked to delete what is there: {told}",
        hint=hint or "Deleting goes on as soon as it answers; nothing is forgotten.",
    )  # fmt: skip


def not_declared(record: Record) -> str:
    """Return what is left of a cluster whose site is declared no more."""
    return f"what was started at the site {record.spec.site!r}, which is not declared any more or whose file is wrong"


def not_done(error: OffloadError | TimeoutError, timeout_s: float) -> Reason:
    """Return why a site did not give workers, for the card."""
    if not isinstance(error, OffloadError):
        return Reason(
            code=ReasonCode.cannot_see, message=f"The site did not answer within {timeout_s:.0f} s.",
            hint="It is asked again; nothing was ended.",
        )  # fmt: skip
    known = {code.value: code for code in ReasonCode}
    otherwise = ReasonCode.cannot_see if error.transient else ReasonCode.site_refused
    return Reason(code=known.get(error.code.value, otherwise), message=error.message, hint=error.hint)
