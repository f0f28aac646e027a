"""Serving until told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gest_stream.config import PipelineConfig, ServerConfig
from gest_stream.errors import ConfigError
from gest_stream.server.app import CONNECTIONS, make_app
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.request_log import ProtocolLog, RequestLog
from gest_stream.server.seams import SessionsSeam
from gest_stream.server.tls import tls_context

_LOG = logging.getLogger(__name__)

_LINGER_S: Final = 2.0
"""How long a body that nobody wants is read and thrown away, so that its sender gets the answer."""
_ANSWER_S: Final = 2.0
"""How long requests may go on at the end."""
_SESSIONS_S: Final = 15.0
"""How long sessions may take to end; each bounds itself to less."""


async def serve(
    config: PipelineConfig,
    sessions: SessionsSeam,
    metrics: ServerMetrics,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event,
) -> None:
    """Serve HTTP until `stop` is set, then end every session and every connection within a bounded time.

    Args:
        config: `config.server` says where.
        sessions: What HTTP begins; closed in the end, whatever happened.
        metrics: Shown by `/metrics`.
        ready: Called with the URL once connections are taken.
        stop: Set to end.

    Raises:
        ConfigError: It cannot listen there, or the TLS files cannot be used.
    """
    try:
        app = make_app(config, sessions, metrics)
        tls = tls_context(config.server)
        runner = web.AppRunner(
            app,
            access_log=_LOG,
            access_log_class=RequestLog,
            logger=ProtocolLog(_LOG),
            auto_decompress=False,
            lingering_time=_LINGER_S,
            shutdown_timeout=_ANSWER_S,
        )
        await runner.setup()
        try:
            await _listen(config.server, runner, tls, ready, stop)
        finally:
            await runner.cleanup()
            app[CONNECTIONS].abort()
    finally:
        await _close_sessions(sessions)


async def _listen(
    config: ServerConfig,
    runner: web.AppRunner,
    tls: ssl.SSLContext | None,
    ready: Callable[[str], None] | None,
    stop: asyncio.Event,
) -> None:
    assert runner.server is not None
    factory = runner.app[CONNECTIONS].guard(runner.server, tls)
    try:
        server = await asyncio.get_running_loop().create_server(factory, config.host, config.port)
    except OSError as exc:
        raise ConfigError(_explain(config, exc)) from exc
    try:
        url = _url(config, server.sockets[0].getsockname()[1], tls is not None)
        _LOG.info("serving at %s", url)
        if ready is not None:
            ready(url)
        await stop.wait()
    finally:
        server.close()


async def _close_sessions(sessions: SessionsSeam) -> None:
    try:
        async with asyncio.timeout(_SESSIONS_S):
            await sessions.close()
    except TimeoutError:
        _LOG.warning("sessions did not end within %g s", _SESSIONS_S)


def _url(config: ServerConfig, port: int, encrypted: bool) -> str:
    host = config.host
    if host in ("0.0.0.0", "::"):  # every address of this machine, and none that a browser could go to
        host = config.public_names[0] if config.public_names else "localhost"
    return f"{'https' if encrypted else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"


def _explain(config: ServerConfig, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"server.port: {config.port} of {config.host} is in use; end what listens there, or give --port another"
    if exc.errno == errno.EACCES:
        return f"server.port: {config.port} may not be bound by this user; give --port 1024 or above"
    if exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror):
        return f"server.host: {config.host} is no address of this machine; give --host one of its addresses"
    return f"server.host: cannot listen at {config.host}, port {config.port}: {exc.strerror or exc}; give another"
