"""What each kind of mistake in a site file, or another of our files, means for the person who made it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ..api.models import FieldProblem, SiteDefinition
from .yaml_lines import Loc, YamlDocument

#: What to write in a field that is missing.
_EXAMPLES = {
    "backend": "backend: local",
    "profiles": "profiles:, and below it for each profile: - {name: small, cores: 1, memory_bytes: 2 GiB}",
    "profiles.name": "name: small",
    "profiles.cores": "cores: 1",
    "profiles.memory_bytes": "memory_bytes: 2 GiB",
    "profiles.accelerators.resource": "resource: nvidia.com/gpu",
}
_NAME_RULE = "Use lower-case letters, digits and '-', beginning with a letter or digit, at most 40."


def model_at(loc: Loc, whole: type[BaseModel] = SiteDefinition) -> type[BaseModel] | None:
    """Return the model whose fields may stand at that place, None where there is no model (such as in ``options``)."""
    kind: Any = whole
    for part in loc:
        if isinstance(part, int):
            kind = _inner(kind, list)
            continue
        kind = _model_in(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        else:
            return None
    return _model_in(kind)


def _model_in(kind: Any) -> type[BaseModel] | None:
    """Return the model that an annotation is, or may be besides None."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _inner(kind: Any, container: type) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kind = next((k for k in get_args(kind) if get_origin(k) is container), None)
    return get_args(kind)[0] if get_origin(kind) is container else None


def explain(error: Mapping[str, Any], document: YamlDocument, whole: type[BaseModel] = SiteDefinition) -> FieldProblem:
    """Return one of pydantic's errors as a person wants to read it: place, line, value and remedy.

    ``whole`` is the model of the file.
    """
    loc: Loc = error["loc"]
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "missing":
        path = ".".join(str(p) for p in loc if isinstance(p, str))
        return document.problem(
            loc, f"{loc[-1]!r} is missing.", f"Add the line: {_EXAMPLES.get(path, f'{loc[-1]}: ...')}"
        )
    if kind == "extra_forbidden":
        return _unknown_key(loc, document, whole)
    value = document.texts.get(loc)
    shown = _shown(error["input"]) if value is None else repr(value)
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
        return document.problem(loc, f"{message}.", f"{hint[:1].upper()}{hint[1:]}." if hint else None)
    message, remedy = _type_and_range(kind, context, shown, str(loc[-1]))
    return document.problem(loc, message or f"{shown} is not allowed here: {error['msg']}.", remedy)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _type_and_range(kind: str, context: dict[str, Any], shown: str, name: str) -> tuple[str, str | None]:
    limits = {
        "greater_than_equal": ("less than", "ge", "at least"),
        "less_than_equal": ("more than", "le", "at most"),
    }
    if kind in limits:
        word, key, remedy = limits[kind]
        if name.endswith("_bytes"):
            return f"{shown} is no memory to work with.", f"Write for example {name}: 2 GiB"
        if name.endswith("_s"):
            return f"{shown} is {word} what a clock can show.", f"Write for example {name}: 2 h"
        return f"{shown} is {word} the {context[key]} allowed.", f"Write {remedy} {context[key]}."
    if kind.startswith("int_"):
        return f"{shown} is not a whole number.", f"Write for example {name}: 4"
    if kind in ("string_type", "string_sub_type"):
        return f"{shown} is not text here.", f'Put it in quotes: {name}: "..."'
    if kind == "string_pattern_mismatch":
        return f"{shown} is not a name.", _NAME_RULE
    if kind == "literal_error":
        return f"{shown} is not one of the choices.", f"Write {context['expected']}."
    if kind == "list_type":
        return f"{shown} is not a list.", "Begin each entry with '- ' on a line of its own."
    if kind == "too_short":
        return "The list is empty.", f"Write at least {context['min_length']} entry."
    if kind in ("model_type", "dict_type"):
        return f"{shown} is not a group of fields.", "Write lines of 'key: value', indented below this one."
    return "", None


def _unknown_key(loc: Loc, document: YamlDocument, whole: type[BaseModel]) -> FieldProblem:
    model = model_at(loc[:-1], whole)
    known = sorted(model.model_fields) if model else []
    key = str(loc[-1])
    # people leave the unit out: memory means memory_bytes
    near = [k for k in known if k.rsplit("_", 1)[0] == key] or difflib.get_close_matches(key, known, 1, 0.6)
    hint = f"Did you mean {near[0]}?" if near else f"Known here are: {', '.join(known)}."
    return document.problem(loc, f"There is no field {key!r} here.", hint)
