"""Logging of requests: nothing in it that is to be kept secret, and no noise from clients that talk nonsense."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

from gest_stream.server.problems import route_of


class RequestLog(AbstractAccessLogger):
    """One line a request at DEBUG: no query, no header, and the path as registered, for a session's id is a secret."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request.

        Args:
            request: What was asked.
            response: What was answered.
            time: Seconds that it took.
        """
        line = "%s %s %s: %d in %.1f ms"
        self.logger.debug(line, request.remote, request.method, route_of(request), response.status, time * 1e3)

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return self.logger.isEnabledFor(logging.DEBUG)


class ProtocolLog(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp logs; what is no HTTP, which is the client's fault, at DEBUG and without quoting it."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """Log an error with its traceback, or a malformed request without."""
        if isinstance(exc_info, HttpProcessingError):
            self.debug("malformed request, answered with %d", exc_info.code)
            return
        super().exception(msg, *args, exc_info=exc_info, **kwargs)
