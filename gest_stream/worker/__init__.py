"""The worker behind host plugins: models loaded once, a tracker and a renderer for every host that connects.

Names are resolved on first use: the command line asks for `HandChoice` alone, and starts without NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gest_stream.worker.view import HandChoice, Matrix, ViewConfig
    from gest_stream.worker.worker import Worker

__all__ = ["HandChoice", "Matrix", "ViewConfig", "Worker"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "worker" if name == "Worker" else "view"
    return getattr(import_module(f"{__name__}.{home}"), name)
