"""WHIP, WHEP and the loop over HTTP: offers in, answers out, and what becomes of their sessions.

Source: RFC 9725 (WHIP) and draft-ietf-wish-whep.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from gest_stream.config import PipelineConfig
from gest_stream.errors import SignallingError
from gest_stream.server.access import Access, own_url, preflight_headers
from gest_stream.server.bodies import check_type, read_body, read_text
from gest_stream.server.ice_links import ice_links
from gest_stream.server.problems import RefusedError
from gest_stream.server.seams import SessionSeam, SessionsSeam
from gest_stream.server.session import SessionKind

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"
PICTURES: Final = ("image/png", "image/jpeg")

_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Signalling:
    """The handlers of offers and sessions.

    Args:
        config: Limits and ICE servers.
        sessions: Where sessions are begun and found.
        access: Says who is to see the ICE servers' credentials.
    """

    def __init__(self, config: PipelineConfig, sessions: SessionsSeam, access: Access) -> None:
        self._limits = config.server.limits
        self._sessions = sessions
        self._access = access
        self._links = ice_links(config.rtc.ice_servers)

    async def loop(self, request: web.Request) -> web.Response:
        """POST /loop: a picture in, the same with its hands out."""
        return await self._begin(request, SessionKind.LOOP, "")

    async def publish(self, request: web.Request) -> web.Response:
        """POST /whip/{stream}: a picture in."""
        return await self._begin(request, SessionKind.PUBLISH, _stream_of(request))

    async def view(self, request: web.Request) -> web.Response:
        """POST /whep/{stream}: what is published, with its hands, out."""
        try:
            return await self._begin(request, SessionKind.VIEW, _stream_of(request))
        except RefusedError:
            raise
        except SignallingError as exc:
            if exc.status != HTTPStatus.NOT_FOUND:
                raise
            later: dict[str, str] = {hdrs.RETRY_AFTER: str(self._limits.retry_after_s)}
            raise RefusedError(str(exc), exc.status, later) from exc

    async def describe_endpoint(self, request: web.Request) -> web.Response:
        """OPTIONS on what takes offers.

        Source: RFC 9725 sections 4.2 and 4.6: the ICE servers are not for preflight requests, nor for everybody.
        """
        headers = CIMultiDict({hdrs.ALLOW: "OPTIONS, POST", "Accept-Post": SDP})
        headers.update(preflight_headers(request, "POST"))
        if hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers and self._access.has_token(request):
            self._add_links(headers)
        return web.Response(headers=headers)

    async def describe_session(self, request: web.Request) -> web.Response:
        """OPTIONS on a session; says nothing of whether there is one."""
        headers = {hdrs.ALLOW: "DELETE, OPTIONS, PATCH", "Accept-Patch": FRAGMENT}
        return web.Response(headers=headers | preflight_headers(request, "PATCH, DELETE"))

    async def describe_background(self, request: web.Request) -> web.Response:
        """OPTIONS on a session's background."""
        return web.Response(headers={hdrs.ALLOW: "OPTIONS, PUT"} | preflight_headers(request, "PUT"))

    async def trickle(self, request: web.Request) -> web.Response:
        """PATCH /session/{id}: candidates that came after the offer.

        Source: RFC 9725 sections 4.3.1 to 4.3.3.
        """
        session = self._session_of(request)
        check_type(request, (FRAGMENT,))
        _check_precondition(request, session)
        fragment = await read_text(request, self._limits.max_sdp_bytes, self._limits.request_timeout_s)
        await session.add_candidates(fragment)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def end(self, request: web.Request) -> web.Response:
        """DELETE /session/{id}; any entity-tag is ignored, as RFC 9725 section 4.3.1 wants."""
        await self._session_of(request).close("the client ended it")
        return web.Response()

    async def set_background(self, request: web.Request) -> web.Response:
        """PUT /session/{id}/background: the picture that the effect `replace` puts behind the hands."""
        session = self._session_of(request)
        check_type(request, PICTURES)
        picture = await read_body(request, self._limits.max_background_bytes, self._limits.request_timeout_s)
        await asyncio.to_thread(session.set_background, picture)  # decoding takes its time
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _begin(self, request: web.Request, kind: SessionKind, stream: str) -> web.Response:
        check_type(request, (SDP,))
        offer = await read_text(request, self._limits.max_sdp_bytes, self._limits.request_timeout_s)
        session, answer = await self._sessions.start(kind, stream, offer, request.remote or "")
        if request.transport is None or request.transport.is_closing():
            await session.close("the client left before it had its answer")
        headers = CIMultiDict(
            {
                hdrs.LOCATION: f"{own_url(request)}/session/{session.id}",
                hdrs.ETAG: session.etag,
                "Accept-Patch": FRAGMENT,
            }
        )
        self._add_links(headers)
        return web.Response(status=HTTPStatus.CREATED, text=answer, content_type=SDP, headers=headers)

    def _session_of(self, request: web.Request) -> SessionSeam:
        session = self._sessions.get(request.match_info["id"])
        if session is None:
            raise RefusedError("there is no such session; it may have ended", HTTPStatus.NOT_FOUND)
        return session

    def _add_links(self, headers: CIMultiDict[str]) -> None:
        for link in self._links:
            headers.add(hdrs.LINK, link)


def _stream_of(request: web.Request) -> str:
    stream = request.match_info["stream"]
    if _STREAM.fullmatch(stream) is None:
        raise RefusedError(
            "expected a stream's name of 1 to 64 letters, digits, - and _ in the path", HTTPStatus.NOT_FOUND
        )
    return stream


def _check_precondition(request: web.Request, session: SessionSeam) -> None:
    """Refuse a fragment for another ICE session than the present one."""
    fields = request.headers.getall(hdrs.IF_MATCH, [])
    if not fields:
        if session.kind is SessionKind.VIEW:  # players of the time before WHEP had entity-tags send none
            return
        raise RefusedError(f"expected If-Match: {session.etag}", HTTPStatus.PRECONDITION_REQUIRED)
    wanted = ", ".join(fields).strip()
    if wanted == "*":
        raise RefusedError(
            "ICE restarts are not supported; end the session and begin another", HTTPStatus.UNPROCESSABLE_ENTITY
        )
    # a weak tag never matches: RFC 9110 section 13.1.1 wants the strong comparison
    if session.etag not in _ENTITY_TAG.findall(wanted):
        raise RefusedError("the session has another entity-tag than If-Match names", HTTPStatus.PRECONDITION_FAILED)
