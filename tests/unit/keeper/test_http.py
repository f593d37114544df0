"""HTTP on a private socket, with the real tornado and a client of its own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from jupyter_offload.api.models import Changes, ClusterSpec
from jupyter_offload.api.problems import Broken, NotFound, ProblemCode
from jupyter_offload.api.routes import ROUTES
from jupyter_offload.keeper.http import BODY_LIMIT, Answer, Traffic, application, peer_uid, serve
from jupyter_offload.keeper.routes import operations


class Asked:
    """What the handlers were given."""

    call = None
    under_way: int | None = None


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def traffic() -> Traffic:
    return Traffic(last_at=0)


@pytest.fixture
async def http(asked: Asked, traffic: Traffic) -> AsyncIterator[httpx.AsyncClient]:
    async def health(call):
        asked.under_way = traffic.under_way
        return Answer({})

    async def changes(call):
        asked.under_way = traffic.under_way
        asked.call = call
        return Answer(Changes(revision=3))

    async def preview(call):
        asked.under_way = traffic.under_way
        asked.call = call
        return Answer({"fine": True})

    async def get(call):
        raise NotFound(
            ProblemCode.unknown_cluster, f"There is no cluster {call.path['id']!r}.", field="id", hint="Look."
        )

    async def change(call):
        asked.call = call
        return Answer({})

    async def delete(call):
        return Answer(status=204)

    async def sites(call):
        raise RuntimeError("secret detail")

    async def connection(call):
        raise Broken(ProblemCode.disk_full, "full")

    served = {
        "health": health, "changes": changes, "previewCluster": preview, "getCluster": get, "changeCluster": change,
        "deleteCluster": delete, "listSites": sites, "clusterConnection": connection,
    }  # fmt: skip
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    path = folder / "k.sock"
    server = serve(application(served, ROUTES, traffic), path)
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://k") as client:
        client.path = path  # type: ignore[attr-defined]
        yield client
    server.stop()
    await server.close_all_connections()
    path.unlink(missing_ok=True)
    folder.rmdir()


def problem(answer: httpx.Response, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["code"] == code and document["status"] == status and document["request_id"]
    return document


def test_every_route_of_the_keeper_has_an_operation() -> None:
    class Parts:
        clusters = sites = None

    wanted = {r.operation for r in ROUTES if r.door in ("both", "keeper")}
    assert set(operations(Parts())) == wanted  # type: ignore[arg-type]


async def test_query_is_parsed(http, asked) -> None:
    answer = await http.get("/changes", params={"since": "7", "timeout_s": "0.5"})
    assert answer.json()["revision"] == 3
    assert asked.call.query == {"since": 7, "timeout_s": 0.5}


@pytest.mark.parametrize(
    ("name", "value"), [("since", "x"), ("timeout_s", "soon"), ("timeout_s", "nan"), ("sinse", "1")]
)
async def test_bad_query_names_the_parameter(http, name, value) -> None:
    document = problem(await http.get("/changes", params={name: value}), 422, "invalid")
    assert document["field"] == name and document["hint"]


async def test_all_mistakes_of_a_body_at_once(http) -> None:
    body = {"name": "a b", "workers": -1, "memory_bytes": "banana", "colour": "red", "env": {"1A": "x"}}
    document = problem(await http.post("/clusters/preview", json=body), 422, "invalid")
    found = {e["field"]: e for e in document["errors"]}
    assert set(found) == {"name", "workers", "memory_bytes", "colour", "env"}
    assert "letters" in found["name"]["hint"]
    assert "'banana'" in found["memory_bytes"]["message"] and "'4 GiB'" in found["memory_bytes"]["message"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b""])
async def test_what_is_no_json(http, body) -> None:
    answer = await http.post("/clusters/preview", content=body)
    problem(answer, 422, "bad-json" if body else "invalid")


async def test_body_becomes_its_model(http, asked) -> None:
    assert (await http.post("/clusters/preview", json={"name": "a"})).json() == {"fine": True}
    assert asked.call.body == ClusterSpec(name="a")


async def test_too_large(http) -> None:
    answer = await http.post("/clusters/preview", content=b'"' + b"x" * BODY_LIMIT + b'"')
    problem(answer, 413, "too-large")


@pytest.mark.parametrize(("value", "revision"), [('"17"', 17), ('W/"17"', 17), ("*", None), (None, None)])
async def test_if_match(http, asked, value, revision) -> None:
    headers = {"If-Match": value} if value else {}
    await http.patch("/clusters/abc", json={}, headers=headers)
    assert asked.call.if_match == revision


async def test_bad_if_match(http) -> None:
    answer = await http.patch("/clusters/abc", json={}, headers={"If-Match": '"new"'})
    assert problem(answer, 422, "invalid")["field"] == "If-Match"


async def test_a_domain_error_keeps_field_and_hint(http) -> None:
    document = problem(await http.get("/clusters/a%20b"), 404, "unknown-cluster")
    assert document["detail"] == "There is no cluster 'a b'." and document["hint"] == "Look."


async def test_our_own_mistakes_do_not_leak(http, caplog) -> None:
    answer = await http.get("/sites")
    document = problem(answer, 500, "internal")
    assert "secret detail" not in answer.text
    assert document["request_id"] in caplog.text and "secret detail" in caplog.text


async def test_disk_full(http) -> None:
    problem(await http.get("/clusters/abc/connection"), 500, "disk-full")


async def test_unknown_route_and_method(http) -> None:
    for path in ("/", "/nothing", "/clusters/a/b/c/d"):
        problem(await http.get(path), 404, "unknown-route")
    answer = await http.put("/changes")
    assert "GET" in problem(answer, 405, "unknown-route")["hint"]
    assert answer.headers["allow"] == "GET"


async def test_no_content(http) -> None:
    answer = await http.delete("/clusters/abc")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_the_socket_is_private(http) -> None:
    seen = http.path.lstat()
    assert stat.S_ISSOCK(seen.st_mode) and seen.st_mode & 0o777 == 0o600


def test_the_peer_is_looked_at() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_uid(ours) == os.getuid()


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to try it")
async def test_another_user_is_refused(http) -> None:
    """Even where folder and socket were opened to all by mistake."""
    http.path.chmod(0o777)
    http.path.parent.chmod(0o755)
    script = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /changes HTTP/1.0\\r\\n\\r\\n'); s.settimeout(20); print(s.recv(100))"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, str(http.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "revision" not in done.stdout and "HTTP/1" not in done.stdout
    assert "b''" in done.stdout or "Reset" in done.stderr or "Broken pipe" in done.stderr, done
    assert json.loads((await http.get("/changes")).text)["revision"] == 3


@pytest.mark.parametrize("path", ["/changes", "/health"])
async def test_who_only_watches_does_not_count_as_traffic(http, asked, traffic, path) -> None:
    assert (await http.get(path)).status_code == 200
    assert (asked.under_way, traffic.under_way, traffic.last_at) == (0, 0, 0)


async def test_who_asks_or_errs_counts_while_under_way_and_at_its_end(http, asked, traffic) -> None:
    assert (await http.post("/clusters/preview", json={"name": "a"})).status_code == 200
    assert (asked.under_way, traffic.under_way) == (1, 0)
    for path in ("/clusters/nobody", "/sites"):
        before = traffic.last_at
        assert before > 0
        assert (await http.get(path)).status_code in (404, 500)
        assert traffic.under_way == 0 and traffic.last_at > before, "one that fails is counted off, too"
