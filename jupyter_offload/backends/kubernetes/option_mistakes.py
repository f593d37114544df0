"""What each kind of mistake in ``options`` means for the administrator who made it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ...api.models import FieldProblem, SiteDefinition

#: Annotations with these beginnings are ours or the virtual kubelet's.
RESERVED = ("offload.dask.org/", "JobID")
_PLACES = ("node", "node_selector", "discover")
_PLACE_HINT = "Write one of: node: <name of a virtual node>, node_selector: {label: value}, discover: virtual-nodes"


def _field(loc: Sequence[Any]) -> str:
    text = "options"
    for part in loc:
        if part != "[key]":  # pydantic's mark of a wrong key of a mapping
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def problem_of(error: Mapping[str, Any], whole: type[BaseModel]) -> FieldProblem:
    """Return one of pydantic's errors as a person wants to read it: place, value and remedy."""
    loc, kind, context = error["loc"], error["type"], error.get("ctx") or {}
    field, shown = _field(loc), _shown(error.get("input"))
    if kind == "extra_forbidden":
        known = sorted(model.model_fields) if (model := _model_at(loc[:-1], whole)) else []
        key = str(loc[-1])
        near = [k for k in known if k.rsplit("_", 1)[0] == key] or difflib.get_close_matches(key, known, 1, 0.6)
        hint = f"Did you mean {near[0]}?" if near else f"Known here are: {', '.join(known)}."
        return FieldProblem(field=field, message=f"There is no option {key!r} here.", hint=hint)
    if kind == "missing":
        return FieldProblem(field=field, message=f"{loc[-1]!r} is missing.", hint=f"Add the line: {loc[-1]}: ...")
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
        return FieldProblem(field=field, message=f"{message}.", hint=f"{hint[:1].upper()}{hint[1:]}." if hint else None)
    message, remedy = _type_and_range(kind, context, shown, str(loc[-1]) if loc else "options")
    return FieldProblem(field=field, message=message or f"{shown} is not allowed: {error['msg']}.", hint=remedy)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _type_and_range(kind: str, context: Mapping[str, Any], shown: str, name: str) -> tuple[str, str | None]:
    if kind in ("greater_than_equal", "less_than_equal"):
        word, limit = ("less", context["ge"]) if kind.startswith("greater") else ("more", context["le"])
        return f"{shown} is {word} than the {limit} allowed.", f"Write for example {name}: {limit}"
    if kind.startswith("int_"):
        return f"{shown} is not a whole number.", f"Write for example {name}: 4"
    if kind.startswith("bool_"):
        return f"{shown} is neither true nor false.", f"Write {name}: true"
    if kind == "string_type":
        return f"{shown} is not text here.", f'Put it in quotes: {name}: "..."'
    if kind == "literal_error":
        return f"{shown} is not one of the choices.", f"Write {context['expected']}."
    if kind == "list_type":
        return f"{shown} is not a list.", "Begin each entry with '- ' on a line of its own."
    if kind == "too_short":
        return "Nothing stands here.", f"Write at least {context['min_length']} entry, or delete the line."
    if kind in ("model_type", "dict_type"):
        return f"{shown} is not a group of fields.", "Write lines of 'key: value', indented below this one."
    return "", None


def _model_at(loc: Sequence[Any], whole: type[BaseModel]) -> type[BaseModel] | None:
    kind: Any = whole
    for part in loc:
        if isinstance(part, int):
            kind = get_args(kind)[0] if get_origin(kind) is list else None
        elif (model := _model_in(kind)) is not None and part in model.model_fields:
            kind = model.model_fields[part].annotation
        else:
            return None
    return _model_in(kind)


def _model_in(kind: Any) -> type[BaseModel] | None:
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def of_the_whole(site: SiteDefinition) -> list[FieldProblem]:
    """Return the mistakes that no field shows alone; they are looked for even where a field is wrong."""
    options = site.options
    return [*_place(options), *_profiles(site), *_reserved(options)]


def _place(options: Mapping[str, Any]) -> list[FieldProblem]:
    given = [place for place in _PLACES if options.get(place) is not None]
    if not given:
        message = "Nothing says where the workers run."
        return [FieldProblem(field="options", message=message, hint=_PLACE_HINT)]
    if len(given) > 1:
        message = f"{' and '.join(given)} exclude each other."
        return [FieldProblem(field=f"options.{given[1]}", message=message, hint=f"Keep one, delete {given[1]}.")]
    return []


def _profiles(site: SiteDefinition) -> list[FieldProblem]:
    by_profile = site.options.get("profile_annotations")
    names = [p.name for p in site.profiles]
    return [
        FieldProblem(
            field=f"options.profile_annotations.{name}",
            message=f"There is no profile {name!r}.",
            hint=f"Name one of: {', '.join(names)}.",
        )
        for name in (by_profile if isinstance(by_profile, Mapping) else ())
        if name not in names
    ]


def _reserved(options: Mapping[str, Any]) -> list[FieldProblem]:
    by_profile = options.get("profile_annotations")
    groups = {"annotations": options.get("annotations")}
    if isinstance(by_profile, Mapping):
        groups |= {f"profile_annotations.{name}": group for name, group in by_profile.items()}
    return [
        FieldProblem(
            field=f"options.{where}.{key}",
            message=f"{key!r} is set by this package or by interLink.",
            hint="Delete it.",
        )
        for where, group in groups.items()
        for key in (group if isinstance(group, Mapping) else ())
        if str(key).startswith(RESERVED)
    ]
