"""Read a site file and say everything that is wrong with it at once, each mistake with its line and its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..api.models import FieldProblem, SiteDefinition
from .site_mistakes import explain
from .yaml_lines import Loc, YamlDocument, field_name, load_yaml

#: A site is described in a few dozen lines; more is some other file.
MAXIMUM_BYTES = 1 << 20


@dataclass(frozen=True)
class SiteFile:
    """What a site file says: a definition, or the problems that keep it from being one."""

    path: Path
    definition: SiteDefinition | None = None
    problems: list[FieldProblem] = field(default_factory=list)
    lines: dict[Loc, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the site, which is the file's."""
        return self.path.stem

    def with_line(self, problem: FieldProblem) -> FieldProblem:
        """Return a problem that somebody else found in the definition with the line it stands on, if that is known."""
        for loc, line in self.lines.items():
            if field_name(loc) == problem.field:
                return problem.model_copy(update={"field": f"{problem.field} (line {line})"})
        return problem


def read_site_file(path: Path) -> SiteFile:
    """Return what the file says. Never raises: what is wrong stands in ``problems``."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        problem = FieldProblem(
            field=path.name,
            message=f"{path} cannot be read: {error.strerror}.",
            hint=f"Make it readable: chmod a+r {path}",
        )
        return SiteFile(path, problems=[problem])
    if len(content) > MAXIMUM_BYTES:
        message = f"{path} is larger than 1 MiB and so no site file."
        hint = f"Move it out of {path.parent}"
        return SiteFile(path, problems=[FieldProblem(field=path.name, message=message, hint=hint)])
    return parse_site_file(path, content)


def parse_site_file(path: Path, content: bytes) -> SiteFile:
    """Return what this content of the file says."""
    document = load_yaml(content, path.name)
    if document.fatal:
        return SiteFile(path, problems=document.problems)
    data = document.data
    if not isinstance(data, dict):
        message = (
            "The file is empty." if data is None else f"The file holds a {type(data).__name__}, not fields and values."
        )
        hint = f"Write at least name, backend and profiles, for example: name: {path.stem}"
        return SiteFile(path, problems=[FieldProblem(field=f"{path.name} (line 1)", message=message, hint=hint)])
    data.setdefault("name", path.stem)
    problems = [*document.problems, *_of_the_whole(document, path)]
    definition = None
    try:
        definition = SiteDefinition.model_validate(data)
    except ValidationError as error:
        problems += [explain(e, document) for e in error.errors(include_url=False) if e["loc"]]
        if not problems:  # a check of the whole model that is not repeated here
            problems = [
                FieldProblem(field=f"{path.name} (line 1)", message=e["msg"].removeprefix("Value error, "))
                for e in error.errors()
            ]
    problems.sort(key=lambda p: line_of(p.field))
    return SiteFile(path, None if problems else definition, problems, document.lines)


def line_of(where: str) -> int:
    """Return the line in the name of a mistake's field, 0 where there is none."""
    _, _, line = where.rpartition("(line ")
    return int(line[:-1]) if line.endswith(")") else 0


def _names(data: dict[str, Any]) -> Iterator[tuple[int, str]]:
    profiles = data.get("profiles")
    for index, profile in enumerate(profiles if isinstance(profiles, list) else []):
        if isinstance(profile, dict) and isinstance(profile.get("name"), str):
            yield index, profile["name"]


def _of_the_whole(document: YamlDocument, path: Path) -> Iterator[FieldProblem]:
    """Yield what one field alone cannot show. Pydantic would say it only once every field is right."""
    data = document.data
    if data["name"] != path.stem and isinstance(data["name"], str):
        yield document.problem(
            ("name",),
            f"The site is called {data['name']!r}, but its file {path.name!r}.",
            f"Call both the same: name: {path.stem}",
        )
    seen: dict[str, int] = {}
    for index, name in _names(data):
        if name in seen:
            first = document.line(("profiles", seen[name], "name"))
            yield document.problem(
                ("profiles", index, "name"),
                f"There is a profile {name!r} already, in line {first}.",
                "Give this one another name.",
            )
        seen.setdefault(name, index)
    default = data.get("default_profile")
    if isinstance(default, str) and default not in seen:
        known = ", ".join(seen) or "(none)"
        yield document.problem(
            ("default_profile",),
            f"There is no profile {default!r}.",
            f"Name one that is in this file: {known}; or leave the line out for the first.",
        )
