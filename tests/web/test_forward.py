"""The Jupyter server authenticates, asks the authorizer, and passes everything else on unchanged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError

from jupyter_offload.api.routes import PREFIX, ROUTES


async def refused(request: Any) -> tuple[int, dict[str, Any], Any]:
    with pytest.raises(HTTPClientError) as caught:
        await request
    answer = caught.value.response
    assert answer is not None
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.code, json.loads(answer.body), answer


async def test_an_answer_passes_unchanged(keeper: Any, jp_fetch: Any) -> None:
    answer = await jp_fetch(PREFIX, "clusters", "zmumu")
    assert json.loads(answer.body)["revision"] == 7
    assert answer.headers["ETag"] == '"7"'
    assert keeper.seen[0][:2] == ("GET", "/clusters/zmumu")


async def test_a_request_passes_with_method_body_query_and_if_match(keeper: Any, jp_fetch: Any) -> None:
    keeper.answers[("PATCH", "/clusters/zmumu")] = (200, {"ETag": '"8"'}, {"revision": 8})
    await jp_fetch(
        PREFIX, "clusters", "zmumu", method="PATCH", body='{"workers":3}',
        headers={"If-Match": '"7"', "Content-Type": "application/json", "X-Request-ID": "from-lab-1"},
    )  # fmt: skip
    method, _, body, headers = keeper.seen[0]
    assert (method, body) == ("PATCH", b'{"workers":3}')
    assert headers["If-Match"] == '"7"'
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Request-Id"] == "from-lab-1"


async def test_credentials_stay_at_the_jupyter_server(
    keeper: Any, http_server_client: Any, jp_serverapp: Any, jp_base_url: str, cookie_headers: Any
) -> None:
    keeper.answers[("GET", "/clusters/zmumu/logs/w0")] = (200, {}, {})
    token = jp_serverapp.identity_provider.token
    cookies = await cookie_headers()
    await http_server_client.fetch(
        f"{jp_base_url}{PREFIX}/clusters/zmumu/logs/w0?offset=-5&token={token}&1763700000",
        headers={**cookies, "Authorization": f"token {token}"},
    )
    _, target, _, headers = keeper.seen[0]
    assert target == "/clusters/zmumu/logs/w0?offset=-5"
    assert token not in str(keeper.seen)
    assert not {"Cookie", "Authorization"} & set(headers)


async def test_location_leads_back_through_the_jupyter_server(keeper: Any, jp_fetch: Any, jp_base_url: str) -> None:
    keeper.answers[("POST", "/clusters")] = (202, {"Location": "/clusters/zmumu-1234"}, {"id": "zmumu-1234"})
    answer = await jp_fetch(PREFIX, "clusters", method="POST", body="{}")
    assert answer.code == 202
    assert answer.headers["Location"] == f"{jp_base_url}{PREFIX}/clusters/zmumu-1234"


async def test_forgetting_a_cluster_has_no_body(keeper: Any, jp_fetch: Any) -> None:
    keeper.answers[("DELETE", "/clusters/zmumu")] = (204, {}, None)
    answer = await jp_fetch(PREFIX, "clusters", "zmumu", method="DELETE")
    assert (answer.code, answer.body) == (204, b"")


async def test_a_problem_passes_unchanged(keeper: Any, jp_fetch: Any) -> None:
    problem = {
        "code": "stale-revision",
        "status": 412,
        "detail": "It changed.",
        "errors": [{"field": "a", "message": "b"}],
    }
    keeper.answers[("PATCH", "/clusters/zmumu")] = (412, {}, problem)
    status, document, _ = await refused(jp_fetch(PREFIX, "clusters", "zmumu", method="PATCH", body="{}"))
    assert (status, document) == (412, problem)


async def test_an_encoded_slash_stays_one_segment(
    keeper: Any, http_server_client: Any, jp_base_url: str, jp_auth_header: Any
) -> None:
    await refused(http_server_client.fetch(f"{jp_base_url}{PREFIX}/clusters/a%2Fb", headers=jp_auth_header))
    assert keeper.seen[0][1] == "/clusters/a%2Fb"


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.door == "both" and r.operation != "changes"], ids=lambda r: r.operation
)
async def test_every_route_of_the_table_is_forwarded(route: Any, keeper: Any, jp_fetch: Any) -> None:
    path = route.path.format(id="zmumu", site="local", source="w0")
    keeper.answers[(route.method, path)] = (200, {}, {})
    await jp_fetch(PREFIX, path[1:], method=route.method, body="{}" if route.method in {"POST", "PATCH"} else None)
    if route.operation != "health":
        assert keeper.seen[0][:2] == (route.method, path)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "nowhere", 404), ("PUT", "clusters", 405), ("POST", "hand-over", 404)]
)
async def test_what_is_no_route_never_reaches_the_keeper(
    method: str, path: str, status: int, keeper: Any, jp_fetch: Any
) -> None:
    body = None if method == "GET" else "{}"
    seen, document, _ = await refused(jp_fetch(PREFIX, path, method=method, body=body))
    assert (seen, document["code"], document["status"]) == (status, "unknown-route", status)
    assert keeper.seen == []


async def test_a_large_body_is_refused(keeper: Any, jp_fetch: Any) -> None:
    status, document, _ = await refused(jp_fetch(PREFIX, "clusters", method="POST", body="x" * 5000))
    assert (status, document["code"]) == (413, "too-large")
    assert "5000" in document["detail"]
    assert "4096" in document["detail"]
    assert keeper.seen == []


# ---------------------------------------------------------------- who may
@pytest.mark.parametrize("route", [r for r in ROUTES if r.door != "keeper"], ids=lambda r: r.operation)
async def test_no_route_answers_without_the_token(route: Any, keeper: Any, jp_fetch: Any) -> None:
    path = route.path.format(id="zmumu", site="local", source="w0")
    body = "{}" if route.method in {"POST", "PATCH"} else None
    status, document, _ = await refused(
        jp_fetch(PREFIX, path[1:], method=route.method, body=body, headers={"Authorization": "token wrong"})
    )
    assert (status, document["code"]) == (403, "forbidden")
    assert keeper.seen == []


async def test_a_cookie_without_xsrf_may_read_but_not_write(
    keeper: Any, http_server_client: Any, jp_base_url: str, cookie_headers: Any
) -> None:
    url = f"{jp_base_url}{PREFIX}/clusters"
    cookies = await cookie_headers()
    keeper.answers[("POST", "/clusters")] = (202, {}, {})
    status, document, _ = await refused(http_server_client.fetch(url, method="POST", body="{}", headers=cookies))
    assert (status, document["code"]) == (403, "forbidden")
    assert keeper.seen == []
    xsrf = dict(pair.split("=", 1) for pair in cookies["Cookie"].split("; "))["_xsrf"]
    answer = await http_server_client.fetch(url, method="POST", body="{}", headers={**cookies, "X-XSRFToken": xsrf})
    assert answer.code == 202


class ReadOnly(Authorizer):
    """Lets everybody look."""

    asked: list[tuple[str, str]] = []

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return action == "read"


async def test_a_read_only_user_reads_and_changes_nothing(keeper: Any, jp_fetch: Any, jp_serverapp: Any) -> None:
    ReadOnly.asked.clear()
    jp_serverapp.web_app.settings["authorizer"] = ReadOnly(
        parent=jp_serverapp, identity_provider=jp_serverapp.identity_provider
    )
    assert (await jp_fetch(PREFIX, "clusters", "zmumu")).code == 200
    for method, path in [
        ("POST", "clusters"), ("PATCH", "clusters/zmumu"), ("DELETE", "clusters/zmumu"), ("POST", "sites/local/check"),
        ("GET", "clusters/zmumu/connection"), ("POST", "clusters/zmumu/dashboard/ticket"),
    ]:  # fmt: skip
        body = "{}" if method in {"POST", "PATCH"} else None
        status, document, _ = await refused(jp_fetch(PREFIX, path, method=method, body=body))
        assert (status, document["code"]) == (403, "forbidden"), path
        assert "You may not" in document["detail"]
    assert [seen[:2] for seen in keeper.seen] == [("GET", "/clusters/zmumu")]
    assert {resource for _, resource in ReadOnly.asked} == {"offload"}
    assert {action for action, _ in ReadOnly.asked} == {"read", "write", "execute"}


# ---------------------------------------------------------------- keeper trouble
async def test_a_keeper_that_cannot_start_is_a_problem_and_not_a_hang(
    jp_fetch: Any, offload_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offload_app.follow_changes = False  # it would try for ever
    monkeypatch.setattr("jupyter_offload.api.start.START_TIMEOUT_S", 0.5)
    monkeypatch.setattr("jupyter_offload.api.start._spawn", lambda log: None)
    status, document, answer = await refused(jp_fetch(PREFIX, "clusters", headers={"X-Request-ID": "abc"}))
    assert (status, document["code"], document["transient"]) == (503, "keeper-unreachable", True)
    assert document["request_id"] == answer.headers["X-Request-ID"] == "abc"
    assert document["hint"]
    from jupyter_offload.api.models import ProblemDocument

    ProblemDocument.model_validate(document)


async def test_a_slow_keeper_is_a_timeout(keeper: Any, jp_fetch: Any) -> None:
    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    keeper.changes.get = never
    status, document, _ = await refused(jp_fetch(PREFIX, "changes"))
    assert (status, document["code"], document["transient"]) == (503, "timeout", True)


async def test_a_keeper_that_came_back_is_met_again(keeper: Any, jp_fetch: Any) -> None:
    await jp_fetch(PREFIX, "clusters", "zmumu")
    await keeper.die()
    keeper.listen()
    assert (await jp_fetch(PREFIX, "clusters", "zmumu")).code == 200


async def test_many_requests_start_one_keeper(
    keeper: Any, jp_fetch: Any, offload_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_offload.api import start

    keeper_socket = await asyncio.to_thread(start.ensure_keeper)
    calls = []

    def ensure() -> Any:
        calls.append(1)
        import time

        time.sleep(0.2)
        return keeper_socket

    monkeypatch.setattr(offload_app._link, "_ensure", ensure)
    await asyncio.gather(*(jp_fetch(PREFIX, "clusters", "zmumu") for _ in range(8)))
    assert len(calls) == 1
