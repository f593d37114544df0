"""What a request to the relay is answered with when it cannot be done: a status, a code for programs, sentences for people."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """A request is refused, or cannot be decided now.

    Args:
        status: of HTTP; 408, 429 and 5xx say that the same request may work later.
        code: for programs, never changed.
        detail: what is wrong, a sentence.
        hint: what to do about it, a sentence.
        retry_after_s: when to try again.
    """

    def __init__(self, status: int, code: str, detail: str, hint: str = "", retry_after_s: int | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.retry_after_s = retry_after_s
        super().__init__(f"{code}: {detail}")

    def document(self) -> dict[str, Any]:
        """Return the body, as RFC 9457 has it."""
        return {
            "type": "about:blank", "title": self.code, "status": self.status, "code": self.code,
            "detail": self.detail, "hint": self.hint,
        }  # fmt: skip


class ProviderDown(Problem):
    """Who asks cannot be told now, since an identity provider does not answer.

    Args:
        prefixes: identities of the silent providers begin so.
    """

    def __init__(self, prefixes: tuple[str, ...], detail: str) -> None:
        self.prefixes = prefixes
        hint = "Nothing is lost; try again in a moment. The relay's log has the cause."
        super().__init__(503, "identity-provider-unavailable", detail, hint, retry_after_s=5)


def bad_request(detail: str, hint: str = "") -> Problem:
    """Return the problem that a request is malformed."""
    return Problem(400, "bad-request", detail, hint)


def unauthenticated(detail: str, hint: str = "") -> Problem:
    """Return the problem that nobody vouches for who asks."""
    return Problem(401, "unauthenticated", detail, hint)


def not_allowed(detail: str, hint: str = "") -> Problem:
    """Return the problem that we know who asks, and this relay is not for them."""
    return Problem(403, "not-allowed", detail, hint)
