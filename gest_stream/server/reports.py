"""What the server says of itself: settings for the page, health, metrics, and the description of all this."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gest_stream.config import PipelineConfig
from gest_stream.server.access import preflight_headers
from gest_stream.server.commands import SENDABLE_EFFECTS
from gest_stream.server.ice_links import ice_servers
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.seams import SessionsSeam

_OPENAPI_FILE: Final = Path(__file__).parent / "openapi.json"
_FRESH: Final = {hdrs.CACHE_CONTROL: "no-store"}


class Reports:
    """The handlers that change nothing.

    Args:
        config: Settings.
        sessions: Counted by `/healthz`.
        metrics: Shown by `/metrics`.
    """

    def __init__(self, config: PipelineConfig, sessions: SessionsSeam, metrics: ServerMetrics) -> None:
        self._settings = {
            "v": 1,
            "ice_servers": ice_servers(config.rtc.ice_servers),
            "effects": [str(kind) for kind in SENDABLE_EFFECTS],
            "max_message_bytes": config.server.limits.max_message_bytes,
        }
        self._sessions = sessions
        self._metrics = metrics
        self._description = json.dumps(openapi())

    async def settings(self, request: web.Request) -> web.Response:
        """GET /config.json: what the page needs to know."""
        return web.json_response(self._settings, headers=_FRESH)

    async def health(self, request: web.Request) -> web.Response:
        """GET /healthz: that it answers, and how full it is."""
        return web.json_response({"status": "ok"} | self._sessions.describe(), headers=_FRESH)

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics, for Prometheus."""
        headers = {hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST} | _FRESH
        return web.Response(body=generate_latest(self._metrics.registry), headers=headers)

    async def description(self, request: web.Request) -> web.Response:
        """GET /openapi.json."""
        return web.Response(text=self._description, content_type="application/json")

    async def options(self, request: web.Request) -> web.Response:
        """OPTIONS on what can only be read."""
        return web.Response(headers={hdrs.ALLOW: "GET, HEAD, OPTIONS"} | preflight_headers(request, "GET, HEAD"))


def openapi() -> dict[str, Any]:
    """The OpenAPI description of the HTTP interface, with the version of the package."""
    description: dict[str, Any] = json.loads(_OPENAPI_FILE.read_text(encoding="utf-8"))
    description["info"]["version"] = metadata.version("gest-stream")
    return description
