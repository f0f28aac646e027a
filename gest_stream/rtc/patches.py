"""Every change of aiortc's and aioice's behaviour."""

from __future__ import annotations

from gest_stream.config import RtcConfig


def apply_patches(config: RtcConfig) -> None:
    """Change aiortc and aioice, once a process.

    Args:
        config: Settings of the first connection.
    """
