"""Reading what a client sends: only the type that is expected, only so much, and only so long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import hdrs, web

from gest_stream.errors import SignallingError
from gest_stream.server.problems import RefusedError

_CHUNK_BYTES = 65_536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def check_type(request: web.Request, types: Sequence[str]) -> None:
    """Refuse a body of another type than expected, or one that is compressed.

    Args:
        request: The request.
        types: The media types that are taken.

    Raises:
        RefusedError: 415.
    """
    if request.content_type not in types:
        raise RefusedError(
            f"expected a body of type {' or '.join(types)}, got {request.content_type}",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if coding != "identity":
        raise RefusedError(
            "expected a body that is not compressed; leave Content-Encoding out", HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )


async def read_body(request: web.Request, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body.

    Args:
        request: The request; its body has not been read.
        max_bytes: The most that is taken.
        timeout_s: Seconds that it may take to arrive.

    Raises:
        RefusedError: 408 or 413; the connection is then closed.
        SignallingError: It broke off.
    """
    # what the client says itself saves reading so much; a chunked body says nothing
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # nothing of the answer itself has been sent
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while chunk := await request.content.read(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError as exc:
        raise RefusedError(
            f"the body did not arrive within {timeout_s:g} s; send it again", HTTPStatus.REQUEST_TIMEOUT
        ) from exc
    except (web.RequestPayloadError, ConnectionError) as exc:
        raise SignallingError("the body broke off; send it again") from exc
    return bytes(body)


async def read_text(request: web.Request, max_bytes: int, timeout_s: float) -> str:
    """The whole body, as UTF-8 text; arguments and errors as in `read_body`."""
    try:
        return (await read_body(request, max_bytes, timeout_s)).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise SignallingError(f"the body is not UTF-8 text: byte {exc.start} does not fit") from exc


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError(f"expected a body of at most {max_bytes} bytes, got more", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
