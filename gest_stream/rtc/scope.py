"""Whose settings hold for the aiortc code that runs now: our connection's, or none for an application's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gest_stream.config import RtcConfig

_CONFIG: ContextVar[RtcConfig | None] = ContextVar("gest_stream_rtc_config", default=None)


def current_config() -> RtcConfig | None:
    """The settings of the connection that the calling task belongs to; None outside of our connections."""
    return _CONFIG.get()


@contextmanager
def settings_of(config: RtcConfig) -> Iterator[None]:
    """Have `config` hold within the block, and for every task and decoder thread that is started there.

    Tasks take over the context that they are created in, which is how the settings get to code that aiortc starts
    later on.
    """
    token = _CONFIG.set(config)
    try:
        yield
    finally:
        _CONFIG.reset(token)
