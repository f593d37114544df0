"""What goes wrong between a cluster and its relay, as the card says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...api.models import Reason, ReasonCode

DOCTOR = "Run: jupyter offload doctor"


class RelayProblem(Exception):
    """Something with a relay does not work now; ``reason`` is for the card. All of it is tried again."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(f"{reason.message} {reason.hint or ''}".strip())


def refused(message: str, hint: str | None = None) -> RelayProblem:
    """Return the problem that the relay does not admit us."""
    return RelayProblem(Reason(code=ReasonCode.relay_refused, message=message, hint=hint or DOCTOR))


def unreachable(message: str, hint: str | None = None) -> RelayProblem:
    """Return the problem that the relay cannot be reached; it may be there again at any moment."""
    return RelayProblem(Reason(code=ReasonCode.relay_unreachable, message=message, hint=hint or DOCTOR))


def unregistered(domain: str, status: Mapping[str, Any] | None) -> Reason | None:
    """Return why workers wait, as the scheduler process tells it in its ``status``; None where they need not."""
    relay = (status or {}).get("relay")
    if not relay or relay.get("registered") or not relay.get("problem"):
        return None
    return Reason(
        code=ReasonCode.relay_unreachable,
        message=f"The scheduler cannot reach the relay {domain}, through which the workers come. {relay['problem']} They wait,"
        " and nothing of them was ended.",
        hint=f"It is tried again and again. If it stays so: {DOCTOR[:1].lower()}{DOCTOR[1:]}",
    )  # fmt: skip
