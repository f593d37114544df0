"""The one table of routes, and the OpenAPI document that is made from it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from jupyter_offload.api import models, openapi
from jupyter_offload.api.routes import ROUTES, Route


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def test_operations_and_paths_are_unique_and_models_exist() -> None:
    assert len({r.operation for r in ROUTES}) == len(ROUTES)
    assert len({(r.method, r.path) for r in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        for name in filter(None, (route.request, route.response)):
            assert issubclass(getattr(models, name), models.Model)


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.operation)
def test_the_authorizer_is_asked_for_what_is_done(route: Route) -> None:
    assert route.action in ("read", "write", "execute")
    assert route.door in ("both", "keeper", "server")
    if route.action == "read":  # who may only read changes nothing
        assert route.method == "GET" or route.operation == "previewCluster"
    if route.method == "GET":
        assert route.action == "read" or route.operation == "clusterConnection"  # whose keys let run code


def test_every_route_is_an_operation(document: dict[str, Any]) -> None:
    operations = {o["operationId"]: (m, p) for p, of in document["paths"].items() for m, o in of.items()}
    assert operations == {r.operation: (r.method.lower(), r.path) for r in ROUTES}
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        inside = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert inside == set(re.findall(r"{(\w+)}", route.path))
        assert {p["name"] for p in operation["parameters"] if p["in"] == "query"} == {q.name for q in route.query}
        assert {q.kind for q in route.query} <= {"integer", "number", "string", "boolean"}
        assert str(route.status) in operation["responses"]
        assert ("If-Match" in {p["name"] for p in operation["parameters"]}) == route.if_match
        assert ("requestBody" in operation) == bool(route.request)


def test_every_reference_leads_to_a_model(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named <= set(document["components"]["schemas"])
    assert {"Cluster", "ClusterSpec", "Site", "ProblemDocument"} <= named


def test_limits_and_nothing_unknown_stand_in_the_schema(document: dict[str, Any]) -> None:
    spec = document["components"]["schemas"]["ClusterSpec"]
    assert spec["additionalProperties"] is False
    assert spec["required"] == ["name"]
    assert spec["properties"]["workers"]["maximum"] == models.MAXIMUM_WORKERS
    assert spec["properties"]["lifetime_s"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 0,
        "maximum": models.MAXIMUM_S,
    }


def test_the_module_prints_the_document() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_offload.api.openapi"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == openapi.text()
    assert json.loads(done.stdout)["openapi"] == "3.1.0"
