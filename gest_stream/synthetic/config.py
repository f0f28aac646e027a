"""What a rendered clip is: its size, its hands, what happens in it, and the named presets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gest_stream.config import nearest_name
from gest_stream.errors import ConfigError

MAX_HANDS: Final = 2


class EventKind(StrEnum):
    """Something that happens to a hand."""

    CROSS = "cross"
    """Both hands pass each other and come back."""
    OCCLUDE = "occlude"
    """An object passes in front of the hand."""
    LEAVE = "leave"
    """The hand is drawn out of the picture and returns."""
    SWIPE = "swipe"
    """The hand waves so fast that it blurs."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens in a clip.

    Args:
        kind: What happens.
        start_s: When it begins, seconds from the start of the clip.
        duration_s: How long it takes, seconds.
        hand: Index of the hand it happens to; a crossing concerns both.
        elsewhere: The only hand of a clip leaves on one side of the picture and returns on the other.

    Raises:
        ConfigError: A time is negative, not finite, or the duration is 0; or something else than a leaving hand is to
            be elsewhere.
    """

    kind: EventKind
    start_s: float
    duration_s: float
    hand: int = 0
    elsewhere: bool = False

    def __post_init__(self) -> None:
        fits = not self.elsewhere or self.kind is EventKind.LEAVE
        _require(fits, "event elsewhere", "an event of the kind 'leave'", self.kind)
        _require(_finite(self.start_s) and self.start_s >= 0, "event start_s", "0 or more", self.start_s)
        _require(_finite(self.duration_s) and self.duration_s > 0, "event duration_s", "above 0", self.duration_s)
        _require(0 <= self.hand < MAX_HANDS, "event hand", f"0 to {MAX_HANDS - 1}", self.hand)

    def progress(self, time_s: float) -> float | None:
        """How far the event is at `time_s`, 0 to 1; None before and after it."""
        share = (time_s - self.start_s) / self.duration_s
        return share if 0.0 <= share <= 1.0 else None


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """A clip, down to its last pixel: equal configs render equal clips.

    Args:
        size: (width, height) in pixels.
        frames: Number of frames.
        rate: Frames per second, a whole number.
        hands: 1 or 2; the first is a right hand on the image's left, the second a left hand on its right.
        seed: Of everything that is drawn by chance: hands, skin, sleeves, light, background, motion.
        events: What happens, in seconds, whatever the number of frames.
        shutter: Share of a frame's time that is exposed, 0 (no motion blur) to 1.
        noise: Standard deviation of the sensor's noise, grey levels.
        tones: Monk skin tone (1 to 10) of each hand; empty draws one for both by the seed.

    Raises:
        ConfigError: A setting is out of range, or an event concerns a hand that is not there.
    """

    size: tuple[int, int] = (640, 480)
    frames: int = 240
    rate: int = 30
    hands: int = 2
    seed: int = 0
    events: tuple[Event, ...] = ()
    shutter: float = 0.3
    noise: float = 2.0
    tones: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        fits = all(64 <= side <= 4096 for side in self.size)
        _require(fits, "synthetic size", "64x64 to 4096x4096 pixels", f"{self.size[0]}x{self.size[1]}")
        _require(1 <= self.frames <= 1_000_000, "synthetic frames", "1 to 1000000", self.frames)
        _require(1 <= self.rate <= 240, "synthetic rate", "1 to 240 frames per second", self.rate)
        _require(1 <= self.hands <= MAX_HANDS, "synthetic hands", f"1 to {MAX_HANDS}", self.hands)
        _require(0 <= self.seed < 2**32, "synthetic seed", "0 to 4294967295", self.seed)
        _require(0.0 <= self.shutter <= 1.0, "synthetic shutter", "0 to 1", self.shutter)
        _require(0.0 <= self.noise <= 50.0, "synthetic noise", "0 to 50 grey levels", self.noise)
        _require(len(self.tones) in (0, self.hands), "synthetic tones", f"none or {self.hands}", self.tones)
        _require(all(1.0 <= tone <= 10.0 for tone in self.tones), "synthetic tones", "1 to 10 each", self.tones)
        for event in self.events:
            enough = self.hands == 2 if event.kind is EventKind.CROSS else event.hand < self.hands
            _require(enough, f"synthetic event {event.kind}", "its hands to be in the clip", f"{self.hands} hand(s)")
            alone = self.hands == 1 or not event.elsewhere
            _require(alone, "synthetic event leave elsewhere", "a clip of one hand", f"{self.hands} hands")

    @property
    def duration_s(self) -> float:
        """Length of the clip, seconds."""
        return self.frames / self.rate


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(ok: bool, name: str, expected: str, value: object) -> None:
    if not ok:
        raise ConfigError(f"{name}: expected {expected}, got {value}")


def _demo() -> ClipConfig:
    events = (
        Event(EventKind.CROSS, 1.2, 1.7),
        Event(EventKind.OCCLUDE, 2.9, 1.3, hand=1),
        Event(EventKind.LEAVE, 4.1, 1.7, hand=0),
        Event(EventKind.SWIPE, 5.8, 1.0, hand=1),
    )
    return ClipConfig(frames=210, seed=13, events=events, tones=(4.4, 6.8))


def _crossing() -> ClipConfig:
    events = (Event(EventKind.CROSS, 0.8, 1.8), Event(EventKind.CROSS, 3.0, 1.6))
    return ClipConfig(frames=150, seed=21, events=events, tones=(6.0, 6.0))


def _occlusion() -> ClipConfig:
    events = (Event(EventKind.OCCLUDE, 0.8, 1.3, hand=0), Event(EventKind.OCCLUDE, 2.6, 1.3, hand=1))
    return ClipConfig(frames=135, seed=32, events=events, tones=(7.5, 7.5))


def _leave_return() -> ClipConfig:
    events = (Event(EventKind.LEAVE, 0.8, 1.8, hand=0), Event(EventKind.LEAVE, 2.8, 1.8, hand=1))
    return ClipConfig(frames=150, seed=43, events=events, tones=(2.0, 2.0))


def _blur() -> ClipConfig:
    events = (Event(EventKind.SWIPE, 0.8, 1.2, hand=0), Event(EventKind.SWIPE, 2.4, 1.2, hand=1))
    return ClipConfig(frames=120, seed=54, events=events, shutter=0.5, tones=(5.0, 5.0))


def _easy() -> ClipConfig:
    return ClipConfig(frames=90, seed=5, tones=(4.5, 4.5))


PRESETS: Final = MappingProxyType[str, Callable[[], ClipConfig]](
    {
        "demo": _demo,
        "easy": _easy,
        "crossing": _crossing,
        "occlusion": _occlusion,
        "leave_return": _leave_return,
        "blur": _blur,
    }
)
"""Named clips."""


def preset(name: str) -> ClipConfig:
    """The clip of that name.

    Raises:
        ConfigError: There is none; the nearest name is suggested.
    """
    if name not in PRESETS:
        raise ConfigError(f"synthetic preset {name!r}: unknown{nearest_name(name, list(PRESETS))}")
    return PRESETS[name]()
