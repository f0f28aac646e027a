"""The WebRTC server with its models: one set of weights, a tracker with memory of its own for every session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gest_stream.build.shared import SharedModels
from gest_stream.config import PipelineConfig
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.serve import serve as serve_http
from gest_stream.server.sessions import Sessions


async def serve(config: PipelineConfig, *, ready: Callable[[str], None] | None = None, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; every session is closed then.

    Args:
        config: Settings.
        ready: Called with the server's address once it listens.
        stop: Ends it.

    Raises:
        ConfigError: The address or the TLS files cannot be used.
        ModelError: A model cannot be loaded.
    """
    shared = await asyncio.to_thread(SharedModels, config)
    metrics = ServerMetrics()
    sessions = Sessions(config, shared.tracker, metrics, str(shared.kind), shared.close)
    await serve_http(config, sessions, metrics, ready=ready, stop=stop)
