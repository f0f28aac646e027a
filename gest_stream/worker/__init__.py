"""The worker behind host plugins: models loaded once, a tracker and a renderer for every host that connects."""

from gest_stream.worker.view import HandChoice, Matrix, ViewConfig
from gest_stream.worker.worker import Worker

__all__ = ["HandChoice", "Matrix", "ViewConfig", "Worker"]
