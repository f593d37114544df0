"""Reading the configuration file: all mistakes at once, each with its field, its value and a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .config import HubIdentity, KubernetesIdentity, OidcIdentity, Part, RelayConfig, UnixIdentity

Loc = tuple[int | str, ...]
_IDENTITIES: dict[str, type[Part]] = {
    "unix": UnixIdentity, "jupyterhub": HubIdentity, "oidc": OidcIdentity, "kubernetes": KubernetesIdentity
}  # fmt: skip
_EXAMPLES = {
    "domain": "domain: relay.example.org",
    "certificate_file": "certificate_file: /etc/jupyter-offload/relay.pem",
    "state_dir": "state_dir: /var/lib/jupyter-offload-relay",
    "identities": "identities:, and below it: - {type: unix}",
    "issuer": "issuer: https://id.example.org",
    "audience": "audience: relay.example.org",
    "audiences": "audiences: [relay.example.org]",
    "api_url": "api_url: https://hub.example.org/hub/api",
    "identity": 'identity: "hub:*"',
    "mode": 'mode: "0660"',
    "path": "path: /run/jupyter-offload-relay/admission.sock",
    "address": "address: 127.0.0.1:9464",
}
_NO_GROUP = "model_type", "model_attributes_type", "dict_type"


@dataclass(frozen=True)
class Mistake:
    """One mistake: where, what, and what to do."""

    field: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.field}: {self.message}", self.remedy)))


class BadConfig(ValueError):
    """A configuration file has mistakes."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__(f"{path} has {len(mistakes)} mistakes: {' | '.join(map(str, mistakes))}")


def read_config(path: Path) -> RelayConfig:
    """Return what a file says. Blocking.

    Raises:
        BadConfig: it cannot be read, or has mistakes.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"It cannot be read: {error.strerror or error}."
        raise BadConfig(path, [Mistake("file", why, "Name another one: --config FILE")]) from error
    except UnicodeDecodeError as error:
        raise BadConfig(path, [Mistake("file", "It is not text in UTF-8.", "Save it as UTF-8.")]) from error
    except (yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise BadConfig(path, [Mistake("file", f"It is not YAML: {why}.", "Mend this line.")]) from error
    if not isinstance(said, dict):
        raise BadConfig(path, [Mistake("file", "It has no lines of 'key: value'.", f"Add: {_EXAMPLES['domain']}")])
    try:
        return RelayConfig.model_validate(said)
    except ValidationError as error:
        raise BadConfig(path, [_explain(one) for one in error.errors(include_url=False)]) from error


def _explain(error: Mapping[str, Any]) -> Mistake:
    loc, model = _place(error["loc"])
    kind, context, field = error["type"], error.get("ctx") or {}, _spoken(loc)
    name = str(loc[-1]) if loc else "file"
    if kind == "missing":
        return Mistake(field, "It is missing.", f"Add the line: {_EXAMPLES.get(name, f'{name}: ...')}")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, 1) if model is not None else []
        remedy = f"Did you mean {near[0]}?" if near else "Remove it."
        return Mistake(field, "There is no such field here.", remedy)
    if kind == "value_error":
        message, _, remedy = str(context["error"]).partition("; ")
        return Mistake(field, f"{message}.", f"{remedy[:1].upper()}{remedy[1:]}." if remedy else "")
    if kind.startswith("union_tag"):
        return Mistake(field, "It does not say which type it is, or one that there is not.",
                       f"Write type: and one of {', '.join(_IDENTITIES)}.")  # fmt: skip
    return Mistake(field, *_value(kind, context, error["input"], name, str(error["msg"])))


def _value(kind: str, context: Mapping[str, Any], value: Any, name: str, said: str) -> tuple[str, str]:
    shown = repr(value)[:60]
    if kind == "greater_than_equal":
        return f"{shown} is too little.", f"Write at least {context['ge']:g}."
    if kind == "less_than_equal":
        return f"{shown} is too much.", f"Write at most {context['le']:g}."
    if kind.startswith(("int_", "float_")):
        return f"{shown} is no number.", f"Write for example {name}: {'30 s' if name.endswith('_s') else '100'}"
    if kind.startswith("bool"):
        return f"{shown} is neither yes nor no.", "Write true or false."
    if kind == "literal_error":
        return f"{shown} is not one of the choices.", f"Write {context['expected']}."
    if kind == "list_type":
        return f"{shown} is not a list.", "Begin each entry with '- ' on a line of its own."
    if kind == "too_short":
        return "The list is empty.", f"Write at least {context['min_length']} entry."
    if kind.startswith("string_") or kind == "path_type":
        return f"{shown} is not a text that can stand here.", f"Write for example {_EXAMPLES.get(name, f'{name}: ...')}"
    if kind in _NO_GROUP:
        return f"{shown} is not a group of fields.", "Write lines of 'key: value', indented below this one."
    return f"{shown} cannot stand here: {said}.", "See the reference of the relay's settings."


def _place(loc: Loc) -> tuple[Loc, type[Part] | None]:
    """Return the place without pydantic's own marks, and the model whose field it is where that is known."""
    if len(loc) > 2 and loc[0] == "identities" and loc[2] in _IDENTITIES:
        kind = _IDENTITIES[str(loc[2])]
        field = loc[3:4]
        return (*loc[:2], *field), kind
    model: type[Part] | None = RelayConfig
    for part in loc[:-1]:
        model = _model_in(model.model_fields[str(part)].annotation) if model and part in model.model_fields else model
    return loc, model


def _model_in(kind: Any) -> type[Part] | None:
    """Return the model that an annotation is, or has in it."""
    if isinstance(kind, type) and issubclass(kind, Part):
        return kind
    return next((m for one in getattr(kind, "__args__", ()) if (m := _model_in(one)) is not None), None)


def _spoken(loc: Loc) -> str:
    """``identities[0].issuer``."""
    spoken = ""
    for part in loc:
        spoken += f"[{part}]" if isinstance(part, int) else f".{part}"
    return spoken.removeprefix(".") or "file"
