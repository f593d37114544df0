"""What a card says of a site that did not do, or does not undo, what it was asked for."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import ReasonCode
from jupyter_offload.api.problems import BadInput, OffloadError, Unavailable
from jupyter_offload.keeper import endings

PODS = [f"pod offload-w{n}" for n in range(5)]


def test_nothing_left_is_no_reason() -> None:
    assert endings.left_at_site([], 100) is None


@pytest.mark.parametrize(
    ("left", "waited_s", "says"),
    [
        (PODS[:1], 3, "there: pod offload-w0."),
        (PODS[:3], 59.9, "there: pod offload-w0; pod offload-w1; pod offload-w2."),
        (PODS, 60, "there for 1 min: pod offload-w0; pod offload-w1; pod offload-w2; and 2 more."),
        (PODS, 179, "there for 2 min: "),
        (PODS, 7200, "there for 2 h: "),
    ],
)
def test_what_is_left_is_named_and_since_when(left, waited_s, says) -> None:
    reason = endings.left_at_site(left, waited_s)
    assert reason is not None and reason.code is ReasonCode.left_at_site
    assert says in reason.message
    assert ("administrator" in (reason.hint or "")) is (waited_s >= 60)


def test_the_sentence_changes_once_a_minute_only() -> None:
    assert endings.left_at_site(PODS, 121) == endings.left_at_site(PODS, 179) != endings.left_at_site(PODS, 181)


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (TimeoutError(), "No answer within 30 s.", "as soon as it answers"),
        (Unavailable("site-unreachable", "No route.", hint="Look at the VPN."), "No route.", "as soon as it answers"),
        (BadInput("access-denied", "You may not delete pods.", hint="Ask for the Role."), "delete pods", "the Role"),
    ],
)
def test_a_site_that_cannot_be_asked_is_not_seen_and_nothing_is_forgotten(error, says, hint) -> None:
    reason = endings.cannot_ask(error, 30)
    assert reason.code is ReasonCode.cannot_see
    assert says in reason.message and hint in (reason.hint or "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), ReasonCode.cannot_see),
        (Unavailable("site-unreachable", "No route."), ReasonCode.cannot_see),
        (BadInput("access-denied", "You may not create pods."), ReasonCode.access_denied),
        (BadInput("quota-exceeded", "8 of 8 CPUs are used."), ReasonCode.quota_exceeded),
        (BadInput("site-refused", "The webhook said no."), ReasonCode.site_refused),
        (BadInput("invalid", "The name is too long."), ReasonCode.site_refused),
    ],
)
def test_a_refusal_has_the_code_of_its_cause(error: OffloadError | TimeoutError, code: ReasonCode) -> None:
    reason = endings.not_done(error, 30)
    assert reason.code is code
    assert reason.message == (
        error.message if isinstance(error, OffloadError) else "The site did not answer within 30 s."
    )
