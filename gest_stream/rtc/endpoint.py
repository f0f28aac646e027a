"""Somebody else's WHIP or WHEP endpoint: an offer goes there by HTTP, an answer and the session's address come back."""

from __future__ import annotations

import base64
import json
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
from aiohttp import hdrs
from yarl import URL

from gest_stream.config import IceServerConfig
from gest_stream.errors import ConfigError, GestStreamError
from gest_stream.rtc.link_header import ice_servers_in
from gest_stream.rtc.refusals import refusal
from gest_stream.url import redacted

_LOG = logging.getLogger(__name__)
_MAX_REDIRECTS = 5
_MAX_ANSWER_BYTES = 65_536
_SDP = "application/sdp"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Protocol(StrEnum):
    """What an endpoint speaks."""

    WHIP = "whip"
    """It takes a stream (RFC 9725)."""
    WHEP = "whep"
    """It gives one (draft-ietf-wish-whep)."""


class DialError(GestStreamError):
    """A connection through an endpoint did not come about; sources and sinks turn it into an error of their own.

    Args:
        message: What went wrong and what to do.
        retry_after_s: Seconds that the server asks to wait before the next attempt; None where it says nothing.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered to an offer.

    Args:
        sdp: Its session description.
        session_url: Where the session is ended; None where it did not say.
        ice_servers: Those it names.
    """

    sdp: str
    session_url: URL | None
    ice_servers: tuple[IceServerConfig, ...]


class Endpoint:
    """A WHIP or WHEP endpoint.

    307 and 308 redirects are followed, and the token goes along, but never from https to http. Certificates are
    verified. Neither the token nor a password in the address appears in a message.

    Args:
        protocol: What it speaks.
        url: Its http:// or https:// address.
        token: For its bearer authentication (RFC 6750).
        timeout_s: Seconds that it may take to answer.

    Raises:
        ConfigError: The address is not one of HTTP, or the token has characters that no header carries.
    """

    def __init__(self, protocol: Protocol, url: str, token: str | None = None, timeout_s: float = 5.0) -> None:
        self.protocol = protocol
        self.name = f"{protocol}:{redacted(url)}"
        self._url = self._checked(url)
        # aiohttp would make a password in the address a header of its own, beside the token's
        login = f"{self._url.user}:{self._url.password or ''}" if self._url.user else None
        self._login = None if login is None else base64.b64encode(login.encode()).decode()
        self._url = self._url.with_user(None)
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._timeout_s = timeout_s
        if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ConfigError(
                f"{self.name}: expected a token of printable ASCII characters without spaces, got another"
            )
        if token is not None and self._url.scheme == "http" and self._url.host not in _LOOPBACK:
            _LOG.warning("%s: the token travels unencrypted; use https:// if the server has it", self.name)

    def _checked(self, url: str) -> URL:
        try:
            parsed = URL(url)
            sound = parsed.scheme in ("http", "https") and bool(parsed.host)
        except ValueError:
            sound = False
        if not sound:
            example = f"{self.protocol}:https://example.org/{self.protocol}/stream"
            raise ConfigError(f"{self.name}: expected an http:// or https:// address, as in {example}")
        return parsed

    async def offer(self, sdp: str) -> Answer:
        """Post an offer.

        Raises:
            DialError: The endpoint is not reached, refuses, or answers with something else than a description.
        """
        try:
            async with aiohttp.ClientSession(timeout=self._timeout) as client:
                return await self._post(client, sdp)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as exc:
            raise DialError(f"{self.name}: {self._why(exc)}") from exc

    async def end(self, session_url: URL | None) -> None:
        """Delete a session; one that cannot be deleted is left to die of silence."""
        if session_url is None:
            return
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout) as client,
                client.delete(session_url, headers=self._headers(session_url), allow_redirects=False) as response,
            ):
                _LOG.debug("%s: DELETE of the session was answered with %d", self.name, response.status)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as exc:
            _LOG.debug("%s: the session could not be deleted: %s", self.name, type(exc).__name__)

    async def _post(self, client: aiohttp.ClientSession, sdp: str) -> Answer:
        url = self._url
        for _ in range(_MAX_REDIRECTS):
            headers = {hdrs.CONTENT_TYPE: _SDP, hdrs.ACCEPT: _SDP, **self._headers(url)}
            async with client.post(url, data=sdp.encode(), headers=headers, allow_redirects=False) as response:
                if response.status not in (307, 308):
                    return await self._answer(response)
                url = self._redirected(url, response)
        raise DialError(f"{self.name}: was redirected {_MAX_REDIRECTS} times; check the address")

    def _redirected(self, url: URL, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get(hdrs.LOCATION)
        if location is None:
            raise DialError(f"{self.name}: was redirected ({response.status}) to nowhere; check the address")
        target = url.join(URL(location)).with_user(None)
        if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme != "https"):
            raise DialError(f"{self.name}: was redirected to {target.scheme or 'nowhere'}, which is not followed")
        _LOG.debug("%s: redirected to %s", self.name, redacted(str(target)))
        return target

    def _headers(self, url: URL) -> Mapping[str, str]:
        """The authorization, unless it would go unencrypted where the endpoint's own address does not."""
        if self._url.scheme == "https" and url.scheme != "https":
            return {}
        if self._token is not None:
            return {hdrs.AUTHORIZATION: f"Bearer {self._token}"}
        return {} if self._login is None else {hdrs.AUTHORIZATION: f"Basic {self._login}"}

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        body = (await _first_bytes(response, _MAX_ANSWER_BYTES + 1)).decode("utf-8", "replace")
        if response.status not in (200, 201):
            why = refusal(self.protocol, response.status, self._token is not None)
            wait_s = _seconds(response.headers.get(hdrs.RETRY_AFTER))
            asked = "" if wait_s is None else f"; it asks to come back in {wait_s:g} s"
            raise DialError(f"{self.name}: {why}{self._told(response, body)}{asked}", wait_s)
        location = response.headers.get(hdrs.LOCATION)
        session_url = response.url.join(URL(location)).with_user(None) if location else None
        if not body.startswith("v=0") or len(body) > _MAX_ANSWER_BYTES:
            await self.end(session_url)
            raise DialError(
                f"{self.name}: the server answers, but not with a session description; "
                f"check that the address is its {self.protocol.upper()} endpoint"
            )
        return Answer(body, session_url, ice_servers_in(response.headers.getall(hdrs.LINK, ())))

    def _told(self, response: aiohttp.ClientResponse, body: str) -> str:
        """What a problem document (RFC 9457) says, if that is what came."""
        if response.content_type != "application/problem+json":
            return ""
        try:
            problem = json.loads(body)
            told = str(problem.get("detail") or problem.get("title") or "")
        except (ValueError, AttributeError, RecursionError):
            return ""
        if self._token:  # before it is cut: a part of the token would stay
            told = told.replace(self._token, "***")
        told = "".join(letter if letter.isprintable() else " " for letter in told)[:200].strip()
        return f"; it says: {told}" if told else ""

    def _why(self, exc: BaseException) -> str:
        """Words for what went wrong on the way, with the remedy; never the error's own, which may hold the address."""
        if isinstance(exc, TimeoutError):
            return f"no answer within {self._timeout_s:g} s; check the address and the firewall"
        if isinstance(exc, aiohttp.ClientConnectorCertificateError):
            cause = exc.certificate_error
            reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__
            return (
                f"its TLS certificate is not accepted ({reason}); use the host name that it was made for, "
                "or add its authority to those this machine trusts (SSL_CERT_FILE)"
            )
        if isinstance(exc, aiohttp.ClientConnectorSSLError):
            return "TLS failed; if the server speaks plain HTTP, write http://"
        if isinstance(exc, aiohttp.ClientConnectorDNSError):
            return f"the host {self._url.host} is not known; check its spelling and the network"
        if isinstance(exc, aiohttp.ClientConnectorError):
            if isinstance(exc.os_error, ConnectionRefusedError):
                return "connection refused; start the server, or check host and port"
            return f"cannot be reached ({exc.os_error.strerror or type(exc.os_error).__name__}); check host and port"
        if isinstance(exc, aiohttp.ServerDisconnectedError | ConnectionResetError):
            return "the server hung up without an answer; if it speaks TLS, write https://"
        return f"the request failed ({type(exc).__name__}); check the address"


async def _first_bytes(response: aiohttp.ClientResponse, count: int) -> bytes:
    """The body, of which no more than `count` bytes are read."""
    body = b""
    while len(body) < count and (more := await response.content.read(count - len(body))):
        body += more
    return body


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; its form as a date (RFC 9110, section 10.2.3) is not read."""
    return float(text) if text is not None and text.strip().isdecimal() else None
