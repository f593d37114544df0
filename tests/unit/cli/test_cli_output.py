"""Errors become a sentence, a remedy and an exit status; progress goes to stderr and never into JSON."""

import pytest

from jupyter_offload.api import problems
from jupyter_offload.api.models import FieldProblem, ProblemDocument
from jupyter_offload.cli.output import Output
from jupyter_offload.cli.running import exit_status


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (problems.NotFound, "unknown-cluster", 3),
        (problems.BadInput, "invalid", 2),
        (problems.BadInput, "unknown-profile", 3),
        (problems.Conflict, "name-in-use", 2),
        (problems.NotNow, "finished", 1),
        (problems.Unavailable, "timeout", 4),
        (problems.Broken, "store-corrupt", 1),
    ],
)
def test_exit_status_tells_the_kind_of_error(kind, code, status):
    assert exit_status(kind(code, "No.")) == status


def test_error_is_a_sentence_and_its_remedy(capsys):
    Output(as_json=False).error(problems.NotFound("unknown-site", "There is no site 'x'.", hint="There are: local."))
    assert capsys.readouterr().err == "Error: There is no site 'x'.\n  There are: local.\n"


def test_several_mistakes_are_all_shown(capsys):
    errors = [FieldProblem(field="a", message="a: wrong", hint="Do b."), FieldProblem(field="c", message="c: wrong")]
    Output(as_json=False).error(problems.BadInput("invalid", "a: wrong; c: wrong", errors=errors))
    assert capsys.readouterr().err == "Error: 2 mistakes:\n  a: wrong. Do b.\n  c: wrong.\n"


def test_mistakes_that_the_keeper_found_read_as_those_found_here(capsys):
    errors = [
        FieldProblem(field="workers", message="99 are more than the 4 of profile 'small'.", hint="Ask for at most 4."),
        FieldProblem(field="memory_bytes", message="1 PiB is more than the 2 GiB of profile 'small'."),
        FieldProblem(field="name", message="'a\nb' is not allowed"),
    ]
    error = problems.BadInput("limit-exceeded", f"{errors[0].message} There are 2 more mistakes.", errors=errors)
    Output(as_json=False).error(error)
    assert capsys.readouterr().err.splitlines() == [
        "Error: 3 mistakes:",
        "  workers: 99 are more than the 4 of profile 'small'. Ask for at most 4.",
        "  memory: 1 PiB is more than the 2 GiB of profile 'small'.",
        "  name: 'a b' is not allowed.",
    ]


def test_what_the_mistakes_are_of_is_said_first(capsys):
    errors = [
        FieldProblem(field="profiles.0.cores", message="0 is not allowed."),
        FieldProblem(field="x", message="No."),
    ]
    Output(as_json=False).error(problems.BadInput("site-unhealthy", "Site 'a' cannot be used.", errors=errors))
    assert capsys.readouterr().err.splitlines()[0] == "Error: Site 'a' cannot be used."


def test_error_is_a_problem_document_with_json(capsys):
    Output(as_json=True).error(problems.NotFound("unknown-site", "No.", field="site", hint="Look."))
    captured = capsys.readouterr()
    assert captured.out == ""
    problem = ProblemDocument.model_validate_json(captured.err)
    assert (problem.status, problem.field, problem.hint) == (404, "site", "Look.")


def test_columns_are_aligned(capsys):
    Output(as_json=False).table(("NAME", "N"), [("a", "10"), ("longer", "2")], if_empty="none")
    assert capsys.readouterr().out == "NAME    N\na       10\nlonger  2\n"
    Output(as_json=False).table(("NAME", "WHY"), [("a", "one\n  two"), ("b", "x")], if_empty="none")
    assert capsys.readouterr().out == "NAME  WHY\na     one two\nb     x\n"
    Output(as_json=False).table(("NAME", "N"), [], if_empty="none")
    assert capsys.readouterr().out == "none\n"
