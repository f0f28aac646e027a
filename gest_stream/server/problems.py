"""How the server says no: `application/problem+json`, whatever went wrong and wherever."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from gest_stream.errors import GestStreamError, SignallingError
from gest_stream.server.sessions import ServerFullError

_LOG = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# what the client goes on sending is not read, so its connection is of no further use
_CLOSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})


class RefusedError(SignallingError):
    """A request that is not let through.

    Args:
        message: What is wrong with it.
        status: The HTTP status that says so.
        headers: What goes with the answer.
    """

    def __init__(self, message: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, status)
        self.headers = dict(headers or {})


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that names what is wrong.

    Args:
        status: The HTTP status.
        detail: What is wrong, and what to do.
        headers: What goes with it.

    Returns:
        `application/problem+json` with title, status and detail.

    Source: RFC 9457 section 3; `type` is left out, which means "about:blank".
    """
    body = json.dumps({"title": HTTPStatus(status).phrase, "status": status, "detail": detail})
    response = web.Response(status=status, text=body, content_type=CONTENT_TYPE, headers=headers)
    if status in _CLOSING:
        response.force_close()
    return response


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into an answer; one that nobody raised on purpose is logged and gives 500."""
    try:
        return await handler(request)
    except SignallingError as exc:
        return problem(exc.status, str(exc), _headers_of(exc))
    except GestStreamError as exc:
        _LOG.warning("%s %s: %s", request.method, route_of(request), exc)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc))
    except web.HTTPException as exc:
        return _unrouted(request, exc)
    except Exception:
        _LOG.exception("%s %s failed", request.method, route_of(request))
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says why")


def route_of(request: web.BaseRequest) -> str:
    """The path as it is registered, for logs: what a client put into it stays out."""
    resource = request.match_info.route.resource if isinstance(request, web.Request) else None
    return resource.canonical if resource is not None else "(no such path)"


def _headers_of(exc: SignallingError) -> Mapping[str, str] | None:
    if isinstance(exc, RefusedError):
        return exc.headers
    if isinstance(exc, ServerFullError):
        return {"Retry-After": str(exc.retry_after_s)}
    return None


def _unrouted(request: web.Request, exc: web.HTTPException) -> web.Response:
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(exc.allowed_methods))
        return problem(exc.status, f"{request.method} means nothing here; use {allowed}", {"Allow": allowed})
    if exc.status == HTTPStatus.NOT_FOUND:
        return problem(exc.status, "there is nothing at this path; /openapi.json lists what there is")
    return problem(exc.status, exc.reason)
