"""The mouse in a window: what a click asks of the tracker."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gest_stream.errors import InvalidInputError
from gest_stream.interfaces import Prompter

_log = logging.getLogger(__name__)


class Pointer:
    """Turns clicks into prompts. A click that means nothing is answered with one line in the log.

    Args:
        prompter: Returns who takes the prompts, once there is one.
    """

    def __init__(self, prompter: Callable[[], Prompter | None]) -> None:
        self._prompter = prompter
        self._last: int | None = None

    def add(self, x: float, y: float, to_last: bool = False) -> None:
        """A positive click at a pixel of the frame: adds to the hand under it, else starts a new object.

        Args:
            x: Column, pixels.
            y: Row, pixels.
            to_last: It belongs to the object that was clicked on last, wherever it is.
        """
        self._point(x, y, 1, self._last if to_last else None)

    def take_away(self, x: float, y: float, from_last: bool = False) -> None:
        """A negative click: takes a part away from the hand under it."""
        self._point(x, y, 0, self._last if from_last else None)

    def drop_last(self) -> None:
        """Drop the object that was clicked on last."""
        prompter = self._prompter()
        if prompter is None or self._last is None:
            return
        try:
            prompter.remove_track(self._last)
        except InvalidInputError as exc:
            _log.warning("%s", exc)
        self._last = None

    def _point(self, x: float, y: float, label: int, track_id: int | None) -> None:
        prompter = self._prompter()
        if prompter is None:
            return
        try:
            self._last = prompter.add_prompt([(x, y)], [label], track_id=track_id)
        except InvalidInputError as exc:
            _log.warning("%s", exc)
