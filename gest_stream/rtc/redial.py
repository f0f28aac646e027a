"""Brings a lost call back: attempts with growing, jittered pauses, up to a limit."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gest_stream.backoff import pauses_s
from gest_stream.clock import now_ns
from gest_stream.config import ReconnectConfig
from gest_stream.errors import SourceOpenError
from gest_stream.rtc.endpoint import DialError

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


async def redial(
    name: str,
    config: ReconnectConfig,
    dial: Callable[[], Awaitable[T]],
    why: str,
    *,
    setting: str,
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], int] = now_ns,
    uniform: Callable[[], float] = random.random,
) -> T:
    """What `dial` returns once it succeeds; the asynchronous twin of `sources.reconnect.Reconnector`.

    A server that asks to wait longer than the pause is waited for.

    Args:
        name: Of what was lost, for messages.
        config: Pauses, and when to give up.
        dial: Raises `DialError` or `SourceOpenError` while the other end is away.
        why: What happened to it, for the log.
        setting: Which setting allows more time, for the last message.
        wait: Waits for some seconds.
        clock: Monotonic nanoseconds.
        uniform: A random number in [0, 1).

    Raises:
        DialError: It did not come back in time.
    """
    limit_s = config.give_up_after_s
    since_ns = clock()
    last: DialError | SourceOpenError | None = None
    _LOG.info("%s: lost (%s); reconnecting for up to %g s", name, why, limit_s)
    attempts = 0
    for pause_s in pauses_s(config, uniform):
        if isinstance(last, DialError) and last.retry_after_s is not None:
            pause_s = max(pause_s, last.retry_after_s)
        away_s = (clock() - since_ns) / 1e9
        if away_s + pause_s > limit_s:
            break
        await wait(pause_s)
        attempts += 1
        try:
            connected = await dial()
        except (DialError, SourceOpenError) as exc:
            _LOG.debug("%s: attempt %d failed: %s", name, attempts, exc)
            last = exc
            continue
        _LOG.info("%s: back after %.1f s", name, (clock() - since_ns) / 1e9)
        return connected
    said = f"; the last said: {str(last).removeprefix(f'{name}: ')}" if last else ""
    raise DialError(
        f"{name}: lost ({why}) and not back after {attempts} attempts in {away_s:.1f} s{said}; "
        f"check the network and the server, or raise {setting}"
    ) from last
