"""OpenAPI 3.1 from the route table and the models.

``python -m jupyter_offload.api.openapi`` prints it; ``labextension`` makes its TypeScript types from that.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic.json_schema import models_json_schema

from . import models
from .routes import API_VERSION, ROUTES, Route


def _body(name: str, media: str = "application/json") -> dict[str, Any]:
    return {"content": {media: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _operation(route: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [
        {"name": q.name, "in": "query", "description": q.description, "schema": {"type": q.kind}} for q in route.query
    ]
    if route.if_match:
        parameters.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    success = {"description": route.summary} | (_body(route.response) if route.response else {})
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            str(route.status): success,
            "default": {"description": "a problem"} | _body("ProblemDocument", "application/problem+json"),
        },
    }
    if route.operation == "deleteCluster":
        operation["responses"]["204"] = {"description": "a finished cluster was forgotten"}
    if route.request:
        operation["requestBody"] = {"required": True} | _body(route.request)
    return operation


def document() -> dict[str, Any]:
    """Return the OpenAPI document as plain data."""
    kinds = [
        m
        for m in vars(models).values()
        if isinstance(m, type) and issubclass(m, models.Model) and m is not models.Model
    ]
    requests = {r.request for r in ROUTES if r.request}
    _, defs = models_json_schema(
        [(m, "validation" if m.__name__ in requests else "serialization") for m in kinds],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "jupyter-offload", "version": str(API_VERSION)},
        "paths": paths,
        "components": {"schemas": defs["$defs"]},
    }


def text() -> str:
    """Return the document as the text that is committed."""
    return json.dumps(document(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(text(), end="")
