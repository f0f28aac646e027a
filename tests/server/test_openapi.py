"""The server does what its OpenAPI description says, whatever it is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gest_stream.config import PipelineConfig
from gest_stream.server.app import make_app
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.reports import openapi
from gest_stream.server.serve import serve
from gest_stream.server.session import SessionKind
from tests.server.fake_sessions import CANDIDATES, TOKEN, FakeSession, FakeSessions, settings
from tests.server.peers import make_sessions

EXAMPLES = 15
ETAG = '"known"'
SPEC = openapi()
SCHEMA = schemathesis.openapi.from_dict(SPEC)
OPERATIONS = [
    (method.upper(), path)
    for path, item in SPEC["paths"].items()
    for method in item
    if method in ("get", "head", "post", "put", "patch", "delete", "options")
]
CONFORMANCE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag", "image/png", "image/jpeg")
def as_it_is(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """Bodies of these types are text or bytes; what is generated instead to be wrong is sent as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


class Sessions(FakeSessions):
    """Always holds a session `known` and a published stream `camera`, however often they are ended."""

    def __init__(self) -> None:
        super().__init__(places=1_000_000, per_client=1_000_000)

    def get(self, session_id: str) -> FakeSession | None:
        self._hold("known", SessionKind.VIEW)
        return super().get(session_id)

    async def start(self, kind: SessionKind, stream: str, offer_sdp: str, client: str) -> tuple[FakeSession, str]:
        self._hold("published", SessionKind.PUBLISH)
        return await super().start(kind, stream, offer_sdp, client)

    def _hold(self, session_id: str, kind: SessionKind) -> None:
        if session_id not in self.open:
            session = FakeSession(self, kind, "camera", "")
            session.id, session.etag = session_id, ETAG
            self.open[session_id] = session


@contextmanager
def serving_in_a_thread(config: PipelineConfig) -> Iterator[str]:
    """A server's address."""
    urls: list[str] = []
    begun = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def ready(url: str) -> None:
        urls.append(url)
        begun.set()

    def run() -> None:
        loop.run_until_complete(serve(config, Sessions(), ServerMetrics(), ready=ready, stop=stop))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(10)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module", params=["open", "with a token"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str | None]]:
    token = None if request.param == "open" else TOKEN
    with serving_in_a_thread(settings(token)) as url:
        yield url.rstrip("/"), token


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def likely(operation: schemathesis.APIOperation[Any, Any, Any, Any]) -> list[st.SearchStrategy[Any]]:
    """Cases that get through to where something is done."""
    known = {"id": "known", "stream": "camera" if "whep" in operation.path else "mine", "file": "page.css"}
    given_path = {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}
    parts: dict[str, Any] = {"path_parameters": given_path} if given_path else {}
    fuzzed = [operation.as_strategy(mode, **parts) for mode in GenerationMode]
    if operation.method == "post":
        parts |= {"media_type": "application/sdp", "body": _example(operation.path)}
    if operation.method == "put":
        parts |= {"media_type": "image/png", "body": b"\x89PNG"}
    if operation.method == "patch":
        parts |= {"media_type": "application/trickle-ice-sdpfrag", "body": CANDIDATES, "headers": {"If-Match": ETAG}}
    return [*fuzzed, operation.as_strategy(GenerationMode.POSITIVE, **parts)]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_as_described_whether_the_request_is_or_not(
    method: str, path: str, server: tuple[str, str | None], http: requests.Session
) -> None:
    url, token = server
    operation = SCHEMA[path][method]
    strategies = [operation.as_strategy(mode) for mode in GenerationMode] + likely(operation)
    needs_token = operation.definition.raw.get("security") != []
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    checks = CONFORMANCE + ([ignored_auth] if token is not None and needs_token else [])
    seen: set[int] = set()

    @seed(5)
    @hypothesis_settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(strategies))
    def check(case: Any) -> None:
        seen.add(case.call_and_validate(url, http, headers, checks=checks).status_code)

    check()
    assert seen & {200, 201, 204}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_needs_a_token_is_refused_without_and_the_rest_is_not(
    method: str, path: str, server: tuple[str, str | None], http: requests.Session
) -> None:
    url, token = server
    response = http.request(method, url + path.format(stream="camera", id="known", file="page.css"), timeout=5)
    public = SPEC["paths"][path][method.lower()]["security"] == []
    assert (response.status_code == 401) == (token is not None and not public)


def test_the_description_names_every_route_and_no_other() -> None:
    app = make_app(PipelineConfig(), FakeSessions(), ServerMetrics())
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert routes == set(OPERATIONS)


def test_health_is_described_as_real_sessions_count() -> None:
    described = {"status": "ok"} | make_sessions().describe()
    schema = SPEC["components"]["schemas"]["Health"]
    assert set(described) == set(schema["required"]) == set(schema["properties"])
    assert set(described["sessions"]) == set(schema["properties"]["sessions"]["required"])


def _example(path: str) -> str:
    """The offer in the description of a path."""
    content = SPEC["paths"][path]["post"]["requestBody"]["content"]
    return str(content["application/sdp"]["examples"]["minimal"]["value"])
