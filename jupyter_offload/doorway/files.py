"""Read ``placement.yaml`` and say everything that is wrong with it at once, as with site files. Blocking: use a thread."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ..api import locations
from ..api.problems import ProblemCode, Unavailable
from ..keeper.site_files import line_of
from ..keeper.site_mistakes import explain
from ..keeper.yaml_lines import load_yaml
from .settings import Placement

MAXIMUM_BYTES = 1 << 20


def read_placement() -> Placement:
    """Return what the most specific ``placement.yaml`` says; without one, what it would say if it were empty.

    Raises:
        Unavailable: it has mistakes (``errors`` lists them all), so there is no keeper until they are mended.
    """
    path = locations.placement_file()
    if path is None:
        return Placement()
    try:
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES)
    except OSError as error:
        raise Unavailable(
            ProblemCode.keeper_unreachable, f"{path} cannot be read: {error.strerror}.",
            hint=f"Make it readable: chmod a+r {path}",
        ) from error  # fmt: skip
    return parse_placement(path, content)


def parse_placement(path: Path, content: bytes) -> Placement:
    """Return what this content of the file says. Raises as ``read_placement``."""
    document = load_yaml(content, path.name)
    problems = list(document.problems)
    placement = Placement()
    data = {} if document.data is None else document.data
    if not document.fatal and not isinstance(data, dict):
        problems.append(document.problem((), "The file holds no fields and values.", "Write for example: cores: 2"))
    elif not document.fatal:
        try:
            placement = Placement.model_validate(data)
        except ValidationError as error:
            problems += [explain(e, document, Placement) for e in error.errors(include_url=False)]
    if problems:
        problems.sort(key=lambda p: line_of(p.field))
        first = problems[0]
        more = f" ({len(problems)} mistakes)" if len(problems) > 1 else ""
        raise Unavailable(
            ProblemCode.keeper_unreachable, f"{path}, which says where the keeper runs, is wrong: {first.field}: {first.message}{more}",
            field=first.field, hint=first.hint, errors=problems,
        )  # fmt: skip
    return placement
