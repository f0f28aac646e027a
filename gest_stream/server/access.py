"""Who may use the server: by token, by the origin of the page that asks, and by the name it is asked under."""

from __future__ import annotations

import hmac
import ipaddress
import re
from hashlib import sha256
from http import HTTPStatus

from aiohttp import hdrs, web
from yarl import URL

from gest_stream.config import ServerConfig
from gest_stream.errors import ConfigError
from gest_stream.server.problems import Handler, RefusedError

_EXPOSED = "Accept-Patch, ETag, Link, Location, Retry-After"
_SENDABLE = "Authorization, Content-Type, If-Match"
_PREFLIGHT_AGE_S = 600

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")


class Access:
    """Decides before anything is done for a request.

    Args:
        config: Token, origins and names.
        public: Names of the routes that need no token.

    Raises:
        ConfigError: An allowed origin is none.
    """

    def __init__(self, config: ServerConfig, public: frozenset[str]) -> None:
        self._public = public
        self._digest = None if config.token is None else _digest(config.token)
        self._origins = frozenset(_configured_origin(origin) for origin in config.allowed_origins)
        self._loopback = config.is_loopback
        self._names = frozenset(
            {"localhost", *(name.lower().rstrip(".") for name in (config.host, *config.public_names))}
        )
        # with a token, a page that reaches this server under a name of its own still has no token
        self._any_name = not self._loopback and config.token is not None and not config.public_names

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through to its handler, or raise `RefusedError`."""
        self._check_host(request)
        self._check_origin(request)
        if request.method != hdrs.METH_OPTIONS and request.match_info.route.name not in self._public:
            self.check_token(request)
        return await handler(request)

    def has_token(self, request: web.Request) -> bool:
        """Whether the request shows the token, or none is needed."""
        if self._digest is None:
            return True
        scheme, _, shown = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        return hmac.compare_digest(self._digest, _digest(shown.strip())) and scheme.lower() == "bearer"

    def check_token(self, request: web.Request) -> None:
        """Refuse a request without the token.

        Raises:
            RefusedError: 401.

        Source: RFC 6750 section 3.
        """
        # the router's own answers (404, 405) give nothing away
        if request.match_info.http_exception is not None or self.has_token(request):
            return
        challenge = 'Bearer realm="gest_stream"'
        if hdrs.AUTHORIZATION in request.headers:
            raise RefusedError(
                "this is not the server's token; look where the server was started",
                HTTPStatus.UNAUTHORIZED,
                {hdrs.WWW_AUTHENTICATE: f'{challenge}, error="invalid_token"'},
            )
        raise RefusedError(
            "a token is needed: Authorization: Bearer TOKEN",
            HTTPStatus.UNAUTHORIZED,
            {hdrs.WWW_AUTHENTICATE: challenge},
        )

    def share(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let the page that asked read the answer, where its origin may."""
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not self._is_known(request, origin):
            return
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def knows_host(self, host: str) -> bool:
        """Whether `host`, a name or an address in brackets where it is IPv6, is one of this server."""
        name = host.lower().rstrip(".")
        return self._any_name or name in self._names or self._is_own_address(name)

    def _check_host(self, request: web.Request) -> None:
        hosts = request.headers.getall(hdrs.HOST, [])
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None or int(match["port"] or 0) > 65_535:
            raise RefusedError("expected one Host header with a name or an address", HTTPStatus.BAD_REQUEST)
        name = match["name"]
        if not self.knows_host(name):
            raise RefusedError(
                f"this server is not known as {name}; start it with --public-name {name} if it is to be",
                HTTPStatus.MISDIRECTED_REQUEST,
            )

    def _is_own_address(self, name: str) -> bool:
        """Whether `name` is an address: no page can make the browser believe that one is its own."""
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or not self._loopback

    def _check_origin(self, request: web.Request) -> None:
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if not origins or (len(origins) == 1 and self._is_known(request, origins[0])):
            return
        raise RefusedError(
            "pages of this origin may not use this server; start it with --allow-origin if they are to",
            HTTPStatus.FORBIDDEN,
        )

    def _is_known(self, request: web.Request, origin: str) -> bool:
        asked = _origin(origin)
        return asked is not None and (asked == _origin(own_url(request)) or asked in self._origins)


def own_url(request: web.Request) -> str:
    """Where the client finds this server, without a path: https://host:port.

    The scheme is the one that a proxy in front of the server was asked with, if it says so: a client that says so
    itself changes only what itself is told.
    """
    forwarded = request.headers.get(hdrs.X_FORWARDED_PROTO, "").strip().lower()
    scheme = "https" if forwarded == "https" else request.scheme
    return f"{scheme}://{request.headers.get(hdrs.HOST, '')}"


def preflight_headers(request: web.Request, methods: str) -> dict[str, str]:
    """What a browser wants to know before it sends a request for a page of another origin.

    Args:
        request: The OPTIONS request.
        methods: The methods that the path takes.

    Source: the Fetch standard, CORS protocol.
    """
    if hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: methods,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _SENDABLE,
        hdrs.ACCESS_CONTROL_MAX_AGE: str(_PREFLIGHT_AGE_S),
    }


def _digest(token: str) -> bytes:
    # digests are of one length: comparing them does not tell how long the token is
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _origin(text: str) -> str | None:
    """An origin as a browser writes it; None for what is none."""
    try:
        url = URL(text)
        known = url.scheme in ("http", "https") and url.host and not url.user and not url.query_string
        return str(url.origin()) if known and url.path in ("", "/") and not url.fragment else None
    except ValueError:
        return None


def _configured_origin(text: str) -> str:
    origin = _origin(text)
    if origin is None:
        raise ConfigError(f"server.allowed_origins: expected an origin such as https://example.org, got {text!r}")
    return origin
