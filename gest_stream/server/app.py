"""The HTTP application: which path leads where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from gest_stream.config import PipelineConfig
from gest_stream.server.access import Access
from gest_stream.server.connections import Connections
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.page_files import PageFiles
from gest_stream.server.problems import Handler, answer_problems
from gest_stream.server.reports import Reports
from gest_stream.server.seams import SessionsSeam
from gest_stream.server.signalling import Signalling

CONNECTIONS: Final = web.AppKey("CONNECTIONS", Connections)

_PUBLIC: Final = frozenset({"page", "page-file", "health", "description"})


def make_app(config: PipelineConfig, sessions: SessionsSeam, metrics: ServerMetrics) -> web.Application:
    """Wire the handlers.

    Args:
        config: `config.server` and `config.rtc` are what counts here.
        sessions: The sessions that HTTP begins, changes and ends. Closing them is up to the caller.
        metrics: Shown by `/metrics`.

    Returns:
        The application. Serve it through the guard of `app[CONNECTIONS]`: without it, slow clients are not bounded.

    Raises:
        ConfigError: An allowed origin or an ICE server cannot be what it says.
    """
    limits = config.server.limits
    connections = Connections(limits.max_connections, limits.request_timeout_s)
    access = Access(config.server, _PUBLIC)
    app = web.Application(middlewares=[connections.watch, answer_problems, access.admit])
    app[CONNECTIONS] = connections

    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        access.share(request, response)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers[hdrs.SERVER] = "gest_stream"

    app.on_response_prepare.append(finish)
    _add_signalling(app, Signalling(config, sessions, access))
    _add_reports(app, Reports(config, sessions, metrics), PageFiles())
    return app


def _add_signalling(app: web.Application, signalling: Signalling) -> None:
    for path, handler in (
        ("/loop", signalling.loop),
        ("/whip/{stream}", signalling.publish),
        ("/whep/{stream}", signalling.view),
    ):
        _add(app, path, {"POST": handler, "OPTIONS": signalling.describe_endpoint})
    changes = {"PATCH": signalling.trickle, "DELETE": signalling.end, "OPTIONS": signalling.describe_session}
    _add(app, "/session/{id}", changes)
    _add(
        app,
        "/session/{id}/background",
        {"PUT": signalling.set_background, "OPTIONS": signalling.describe_background},
    )


def _add_reports(app: web.Application, reports: Reports, page: PageFiles) -> None:
    _add(app, "/", {"GET": page.index, "HEAD": page.index}, "page")
    _add(app, "/page/{file}", {"GET": page.file, "HEAD": page.file}, "page-file")
    for path, handler, name in (
        ("/config.json", reports.settings, "settings"),
        ("/healthz", reports.health, "health"),
        ("/metrics", reports.metrics, "metrics"),
        ("/openapi.json", reports.description, "description"),
    ):
        _add(app, path, {"GET": handler, "HEAD": handler, "OPTIONS": reports.options}, name)


def _add(app: web.Application, path: str, methods: Mapping[str, Handler], name: str | None = None) -> None:
    resource = app.router.add_resource(path, name=name)
    for method, handler in methods.items():
        resource.add_route(method, handler, expect_handler=_expect)


async def _expect(request: web.Request) -> None:
    """Nothing yet: a client that waits to be asked for its body is asked when the body is read, or never."""
