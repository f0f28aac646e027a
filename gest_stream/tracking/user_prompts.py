"""What a user points at while the stream runs: kept until the next frame takes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gest_stream.errors import InvalidInputError
from gest_stream.types import HandMask, Prompt, Track


@dataclass(frozen=True, slots=True, eq=False)
class UserPrompt:
    """One prompt of a user, and the hand it is about.

    Args:
        track_id: The hand.
        prompt: What was pointed at.
        starts: There is no such track yet.
        frame_size: (width, height) in pixels of the picture that was pointed at.
    """

    track_id: int
    prompt: Prompt
    starts: bool
    frame_size: tuple[int, int]


class UserPrompts:
    """A queue between whoever points (a window, a program) and the tracker; safe from any thread.

    Args:
        new_id: Gives out ids that no track has.
    """

    def __init__(self, new_id: Callable[[], int]) -> None:
        self._new_id = new_id
        self._lock = threading.Lock()
        self._waiting: list[UserPrompt] = []
        self._removed: list[int] = []
        self._taken: set[int] = set()
        self._shown: tuple[Track, ...] = ()

    def show(self, tracks: tuple[Track, ...]) -> None:
        """What the user sees from now on."""
        with self._lock:
            self._shown = tracks
            self._taken.clear()

    def add(self, prompt: Prompt, track_id: int | None, frame_size: tuple[int, int] | None) -> int:
        """Queue a prompt.

        Args:
            prompt: Points or a box.
            track_id: The hand; None takes the one whose mask lies under the first point, or else starts a new one.
            frame_size: (width, height) in pixels of the picture that is pointed at; None before the first frame.

        Returns:
            The hand's id.

        Raises:
            InvalidInputError: A point lies outside the picture, there is no such hand, or there is none to take a part
                from.
        """
        if frame_size is None:
            raise InvalidInputError("prompt: there is no picture to point at yet; wait for the first result")
        _check_inside(prompt, frame_size)
        with self._lock:
            starts = False
            if track_id is None:
                track_id = self._under(prompt)
                if track_id is None:
                    track_id, starts = self._new_id(), True
            else:
                self._check_known(track_id)
            self._waiting.append(UserPrompt(track_id, prompt, starts, frame_size))
            return track_id

    def remove(self, track_id: int) -> None:
        """Queue the removal of a hand.

        Raises:
            InvalidInputError: There is no such hand.
        """
        with self._lock:
            self._check_known(track_id)
            self._waiting = [one for one in self._waiting if one.track_id != track_id]
            self._removed.append(track_id)

    def take(self) -> tuple[list[UserPrompt], list[int]]:
        """The queued prompts, in the order they were made, and the hands to remove; the queue is empty then."""
        with self._lock:
            waiting, removed = self._waiting, self._removed
            self._waiting, self._removed = [], []
            self._taken |= {one.track_id for one in waiting}
            return waiting, removed

    def put_back(self, prompts: Sequence[UserPrompt]) -> None:
        """Prompts that have to wait for another frame."""
        with self._lock:
            self._waiting = [*prompts, *self._waiting]

    def clear(self) -> None:
        """Drop what is queued: the stream was cut."""
        with self._lock:
            self._waiting, self._removed, self._shown = [], [], ()
            self._taken.clear()

    def _check_known(self, track_id: int) -> None:
        known = {track.id for track in self._shown} | {one.track_id for one in self._waiting} | self._taken
        if track_id not in known:
            names = ", ".join(map(str, sorted(known))) or "none"
            raise InvalidInputError(f"track {track_id}: no such hand is in view; known are {names}")

    def _under(self, prompt: Prompt) -> int | None:
        """The hand under the first point; None where a new one starts there.

        Raises:
            InvalidInputError: None is there, and the point is negative.
        """
        if prompt.points_xy_px.shape[0] == 0:
            return None
        x, y = np.floor(prompt.points_xy_px[0]).astype(int).tolist()
        hit = [track.id for track in self._shown if _lies_on(x, y, track)]
        if not hit and prompt.labels[0] == 0:
            raise InvalidInputError(
                f"prompt at ({x}, {y}): no hand's mask is there that a part could be taken from; "
                "click on the hand, or name it with track_id"
            )
        return hit[0] if hit else None


def _lies_on(x: int, y: int, track: Track) -> bool:
    """Whether a pixel lies on the track's mask, or in the box of its landmarks where it has no mask."""
    if track.mask is not None:
        return _covers(track.mask, x, y)
    box = track.box_xyxy_px
    return box is not None and box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _check_inside(prompt: Prompt, frame_size: tuple[int, int]) -> None:
    points = [*prompt.points_xy_px.tolist(), *np.reshape(prompt.box_xyxy_px or (), (-1, 2)).tolist()]
    for x, y in points:
        if not (0 <= x <= frame_size[0] and 0 <= y <= frame_size[1]):
            raise InvalidInputError(
                f"prompt at ({x:g}, {y:g}): outside the picture of {frame_size[0]}x{frame_size[1]} pixels"
            )


def _covers(mask: HandMask, x: int, y: int) -> bool:
    x, y = x - mask.origin_xy_px[0], y - mask.origin_xy_px[1]
    height, width = mask.crop.shape
    return 0 <= x < width and 0 <= y < height and bool(mask.inside[y, x])
