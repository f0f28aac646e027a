"""Whether the peer is still there: consent freshness of ICE (RFC 7675), within a connection's own time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from aioice import stun
from aioice.ice import CandidatePair, Connection

from gest_stream.rtc.scope import current_config

_LOG = logging.getLogger(__name__)

_CHECKS = 5
"""Checks within the time after which a peer is dead."""
_LEAST_UNANSWERED = 3
"""Fewer prove nothing: this machine may have slept."""

aioice_query_consent = Connection.query_consent


async def query_consent(connection: Connection) -> None:
    """Ask the peer every few seconds whether it is there, and close the connection when it does not answer any more.

    Takes the place of `aioice.Connection.query_consent` for our connections, which counts six failures in a row, 30 s
    or more, and takes an answer that needs more than 0.5 s for a failure. Here every answer counts that comes in time.

    Args:
        connection: An ICE connection that has found its peer.
    """
    config = current_config()
    if config is None:
        await aioice_query_consent(connection)
        return
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    unanswered = 0
    checks: set[asyncio.Task[None]] = set()

    async def check(pair: CandidatePair) -> None:
        nonlocal heard_at, unanswered
        assert connection.remote_password is not None
        key = connection.remote_password.encode()
        with contextlib.suppress(stun.TransactionError):
            request = connection.build_request(pair, nominate=False)
            # sent twice, 0.5 s apart, and answers count for 1.5 s
            await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=1)
            heard_at, unanswered = loop.time(), 0

    try:
        while (left_s := heard_at + config.dead_after_s - loop.time()) > 0 or unanswered < _LEAST_UNANSWERED:
            # jitter as in RFC 7675, section 5.1, so that connections do not check in step
            pause_s = config.dead_after_s / _CHECKS * random.uniform(0.8, 1.0)
            await asyncio.sleep(min(pause_s, left_s) if left_s > 0 else pause_s / 4)
            unanswered += 1
            for pair in connection._nominated.values():
                task = asyncio.create_task(check(pair))
                checks.add(task)
                task.add_done_callback(checks.discard)
    finally:
        for task in checks:
            task.cancel()
    _LOG.info("a peer has not answered for %.1f s; its connection is closed", loop.time() - heard_at)
    connection._query_consent_task = None  # else close() would wait for this very task
    await connection.close()
