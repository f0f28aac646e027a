"""What an endpoint's status code means to the user."""

from __future__ import annotations


def refusal(protocol: str, status: int, has_token: bool) -> str:
    """Words for a status other than 200 and 201, with the remedy where there is one.

    Codes that RFC 9725 and the WHEP draft do not speak of are taken by their class, as section 4.1 of the RFC asks.

    Args:
        protocol: "whip" or "whep".
        status: Of HTTP.
        has_token: Whether a token was sent.
    """
    gives = protocol == "whep"
    words = {
        401: (
            "the server does not accept the token (401); check it"
            if has_token
            else "the server wants a token (401); pass it with --token or GEST_STREAM_TOKEN"
        ),
        403: "access denied (403); the token or this machine may not use the stream",
        404: (
            "the server has no stream under this address (404); check the path, and that somebody publishes there"
            if gives
            else "the server takes no stream under this address (404); check the path"
        ),
        405: f"the address is not a {protocol.upper()} endpoint (405); check the path",
        409: (
            "nobody publishes the stream yet (409); start the publisher"
            if gives
            else "somebody publishes this stream already (409); end that, or choose another name"
        ),
        429: "too many connections or requests of this machine (429); end others, or wait",
        503: "the server is full or busy (503); wait, or end other sessions",
    }
    if status in words:
        return words[status]
    if 300 <= status < 400:
        return f"the server redirects in a way that would lose the offer ({status}); use the address it redirects to"
    if 400 <= status < 500:
        return f"the server refuses the offer ({status}); check the address, and that it takes H.264 or VP8"
    return f"the server failed ({status}); look at its log, or try later"
