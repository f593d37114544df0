"""The error tree: what is raised on one side is raised on the other."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import FieldProblem, ProblemDocument
from jupyter_offload.api.problems import (
    BadInput,
    Broken,
    Conflict,
    Forbidden,
    NotFound,
    NotNow,
    OffloadError,
    ProblemCode,
    Stale,
    TooLarge,
    Unavailable,
    from_document,
)

EXAMPLES = [
    BadInput(ProblemCode.limit_exceeded, "Too many.", field="workers", hint="Ask for fewer.",
             errors=[FieldProblem(field="workers", message="Too many.", hint="Ask for fewer.")]),
    Forbidden(ProblemCode.forbidden, "No."),
    NotFound(ProblemCode.unknown_site, "There is no site 'x'.", field="site", hint="Sites here: local."),
    Conflict(ProblemCode.name_in_use, "Taken.", field="name"),
    Conflict(ProblemCode.id_in_use, "Taken.", field="id"),
    Stale(ProblemCode.stale_revision, "Look again."),
    TooLarge(ProblemCode.too_large, "Too large."),
    NotNow(ProblemCode.finished, "It has ended."),
    NotNow(ProblemCode.not_running, "Not yet."),
    Unavailable(ProblemCode.keeper_unreachable, "It does not answer.", hint="Try again."),
    Broken(ProblemCode.disk_full, "The disk is full."),
]  # fmt: skip


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: e.code.value)
def test_an_error_crosses_the_socket_unchanged(error: OffloadError) -> None:
    document = ProblemDocument.model_validate_json(error.document("request-1").model_dump_json())
    back = from_document(document)
    assert type(back) is type(error)
    assert (back.code, back.message, back.field, back.hint) == (error.code, error.message, error.field, error.hint)
    assert (back.transient, back.status, back.request_id) == (error.transient, error.status, "request-1")
    assert back.errors == error.errors


def test_every_class_is_among_the_examples() -> None:
    def below(kind: type[OffloadError]) -> set[type[OffloadError]]:
        return {c for k in kind.__subclasses__() for c in {k, *below(k)}}

    assert {type(e) for e in EXAMPLES} == below(OffloadError)


def test_only_what_may_help_is_called_transient() -> None:
    assert {type(e) for e in EXAMPLES if e.transient} == {Unavailable}


def test_the_sentence_and_the_hint_are_what_python_prints() -> None:
    assert str(NotFound(ProblemCode.unknown_site, "There is no site 'x'.", hint="Sites here: local.")) == (
        "There is no site 'x'. Sites here: local."
    )


def test_a_code_of_a_newer_keeper_is_understood_as_far_as_it_goes() -> None:
    document = ProblemDocument(title="new", status=404, code="from-the-future", detail="Not here.", hint="Wait.")
    error = from_document(document)
    assert isinstance(error, NotFound)
    assert (error.code, error.message, error.hint) == (ProblemCode.internal, "Not here.", "Wait.")
    teapot = from_document(document.model_copy(update={"status": 418}))
    assert isinstance(teapot, Broken)


def test_an_unknown_code_cannot_be_raised() -> None:
    with pytest.raises(ValueError, match="no-such-code"):
        BadInput("no-such-code", "x")
