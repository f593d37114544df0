"""Make the reference pages that follow from code: ``python docs/build_reference.py [--check]``.

``http-api.md`` is made whole from the table of routes and the models; in other pages the parts between
``<!-- fields: Model -->`` and ``<!-- end -->`` are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jupyter_offload.api import openapi
from jupyter_offload.api.routes import PREFIX, ROUTES, Route
from jupyter_offload.backends.dask_operator.options import DaskOperatorOptions
from jupyter_offload.backends.kubernetes.options import KubernetesOptions
from jupyter_offload.doorway.settings import Placement
from jupyter_offload.keeper.relay.settings import RelayFile
from jupyter_offload.relay.hub.config import RelayConfig

REFERENCE = Path(__file__).parent / "reference"
_FIELDS = re.compile(r"(<!-- fields: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

HTTP_INTRO = f"""\
# HTTP API

<!-- made by docs/build_reference.py from jupyter_offload/api; do not edit -->

Lab, the notebook API, the command line and CI are clients of this one API. The keeper serves it on a private unix socket; the
Jupyter server forwards the same paths below `<base URL>/{PREFIX}`, after it authenticated the user and asked its authorizer
for the **action** on the resource `offload`. Those marked *keeper* are never forwarded, those marked *server* are answered by
the Jupyter server itself.

Bodies are JSON. Units stand in names: `*_bytes`, `*_s` seconds, `*_fraction` 0 to 1, `*_at` and `*_since` RFC 3339 times in
UTC. Memory and durations may also be written as `"4 GiB"` and `"2 h"`. Unknown fields are errors. A problem is answered as
`application/problem+json`: see [Errors](errors.md). `GET /schema` returns all of this as OpenAPI 3.1.

A cluster's `revision` is its ETag: a change with `If-Match` that names an older one is refused with 412. Creating with an `id`
of your own may be repeated: the same id and spec return the same cluster.
"""


def type_of(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema as a person reads it, such as ``integer (at least 1) or null``."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(type_of(s) for s in choices)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{v}`" for v in schema["enum"])
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping of names to {type_of(values)}" if isinstance(values, dict) else "mapping"
    if schema.get("format") == "date-time":
        return "time"
    limits = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"), ("minItems", "at least"))
        if key in schema
    ]
    return f"{kind} ({', '.join(limits)})" if limits else kind


def _default(field: Mapping[str, Any], required: bool) -> str:
    if required:
        return "**required**"
    value = field.get("default")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"`{value}`" if value not in ("", [], {}) else "empty"


_UNITS = {"bytes": "integer (bytes, or as `4 GiB`)", "s": "integer (seconds, or as `2 h`)"}


def _kind(name: str, of: Mapping[str, Any]) -> str:
    """Return a field's type; a quantity's limits are no more than what a computer can count, and not worth saying."""
    kind = type_of(of)
    unit = _UNITS.get(name.rsplit("_", 1)[-1])
    return re.sub(r"integer( \(at [^)]*\))?", unit, kind) if unit else kind


def _in_file(name: str, kind: str) -> str:
    """Return a type as a file may have it: fractions of seconds may have a unit as well."""
    return re.sub(r"number( \(at [^)]*\))?", "seconds, or as `2 h`", kind) if name.endswith("_s") else kind


def field_table(name: str, schemas: Mapping[str, Any], *, anchors: bool = True) -> str:
    """Return the fields of a model as a table; without anchors, references are plain names."""
    schema = schemas[name]
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field, of in schema.get("properties", {}).items():
        kind = _kind(field, of) if anchors else _in_file(field, re.sub(r"\[(\w+)\]\(#\w+\)", r"\1", _kind(field, of)))
        meaning = str(of.get("description", ""))
        default = _default(of, field in schema.get("required", ()))
        if not anchors and default.startswith("`{"):
            default = "see below"
        lines.append(f"| `{field}` | {kind} | {default} | {meaning} |".replace("  ", " "))
    return "\n".join(lines) + "\n"


def _route(route: Route) -> Iterator[str]:
    yield f"### `{route.method} {route.path}`\n\n{route.summary}.\n\n"
    yield f"Operation `{route.operation}`, action *{route.action}*"
    yield {"keeper": ", *keeper* only.", "server": ", *server* only.", "both": "."}[route.door]
    if route.request:
        yield f" Body: [{route.request}](#{route.request.lower()})."
    answer = f"[{route.response}](#{route.response.lower()})" if route.response else "see above"
    if route.operation == "handOver":
        answer = "nothing"
    yield f" Answers {route.status}: {answer}."
    if route.if_match:
        yield " Takes `If-Match`."
    yield "\n\n"
    if route.query:
        yield "| query | type | meaning |\n|---|---|---|\n"
        yield from (f"| `{q.name}` | {q.kind} | {q.description} |\n" for q in route.query)
        yield "\n"


def http_api(document: Mapping[str, Any]) -> str:
    """Return the page of all operations and models."""
    schemas = document["components"]["schemas"]
    parts = [HTTP_INTRO, "\n## Operations\n\n| operation | | action |\n|---|---|---|\n"]
    parts += [f"| `{r.method} {r.path}` | {r.summary} | {r.action} |\n" for r in ROUTES]
    parts.append("\n")
    for route in ROUTES:
        parts += _route(route)
    parts.append("## Models\n")
    for name, schema in sorted(schemas.items()):
        about = " ".join(str(schema.get("description", "")).replace("``", "`").split())
        parts.append(f"\n### {name}\n\n{about}\n")
        if "enum" in schema:
            parts.append("\n" + ", ".join(f"`{v}`" for v in schema["enum"]) + "\n")
        elif schema.get("properties"):
            parts.append("\n" + field_table(name, schemas))
    return "".join(parts)


def pages() -> dict[Path, str]:
    """Return every page that is made, by path."""
    document = openapi.document()
    schemas = document["components"]["schemas"]
    others: dict[str, Any] = {}
    for model in (RelayFile, RelayConfig, KubernetesOptions, DaskOperatorOptions, Placement):
        schema = model.model_json_schema()
        others |= {model.__name__: schema, **schema["$defs"]}
    made = {REFERENCE / "http-api.md": http_api(document)}
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text()
        if page not in made and _FIELDS.search(text):
            made[page] = _FIELDS.sub(
                lambda m: f"{m[1]}{field_table(m[2], schemas | others, anchors=False)}{m[3]}", text
            )
    return made


def main(arguments: list[str]) -> int:
    """Write the pages; with ``--check`` write nothing and return 1 if any would change."""
    stale = [page for page, text in pages().items() if not page.exists() or page.read_text() != text]
    if "--check" in arguments:
        for page in stale:
            print(f"{page.name} is out of date; run: python docs/build_reference.py", file=sys.stderr)
        return 1 if stale else 0
    for page in stale:
        page.write_text(pages()[page])
        print(f"wrote {page.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
