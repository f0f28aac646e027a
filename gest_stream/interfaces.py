"""The seams of the house: what a source, a sink, a detector and a segmenter must do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, runtime_checkable

from gest_stream.errors import InvalidInputError
from gest_stream.types import (
    Frame,
    FrameResult,
    HandLandmarks,
    HandMask,
    HandProbability,
    Observation,
    ReinitialisedBy,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from gest_stream.audio import AudioFeed


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open.

    Args:
        name: What the user called it, for messages.
        live: True where frames come at their own pace and waiting loses them; False where the source can wait.
        size: (width, height) in pixels of the first frame, after rotation.
        time_base: Seconds per pts unit.
        average_rate: Frames per second, None where unknown.
        frame_count: Number of frames, None where unknown; an estimate, for progress only.
    """

    name: str
    live: bool
    size: tuple[int, int]
    time_base: Fraction
    average_rate: Fraction | None = None
    frame_count: int | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise InvalidInputError(f"{self.name}: expected a picture of at least 1x1 pixels, got {self.size}")


@runtime_checkable
class Source(Protocol):
    """An async iterator of frames; a context manager that opens and closes what it reads.

    Entering opens it and fills `info`. Iterating ends at the end of the stream; `stop()` ends it early, from any
    thread, after at most the frame being read. Errors are `SourceError`s.
    """

    @property
    def info(self) -> SourceInfo:
        """What is known of it; valid once entered."""
        ...

    @property
    def audio(self) -> AudioFeed | None:
        """Its audio packets, fed while frames are read; None where it has no audio that can be copied."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Frame]: ...

    def stop(self) -> None:
        """End the stream early; safe from any thread, and more than once."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Something that takes results: a file, a window, a connection.

    Calls come one at a time and in order: `open`, any number of `write`s, `close`. `close` is called exactly once
    whenever `open` was, also after an error, and leaves what was written usable. Errors are `SinkError`s.
    """

    @property
    def name(self) -> str:
        """What it writes to, for messages and statistics."""
        ...

    async def open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        """Get ready for results of the source `info` describes; `audio` is its audio, if any."""
        ...

    async def write(self, result: FrameResult) -> None:
        """Take one result."""
        ...

    async def close(self) -> None:
        """Finish what was written and let go of everything."""
        ...


@runtime_checkable
class HandDetector(Protocol):
    """Finds the hands of one frame. Plain synchronous code, called from one thread at a time."""

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands on `frame`, in no particular order; empty where there is none."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


@runtime_checkable
class LanedDetector(HandDetector, Protocol):
    """Several detectors in one, which take the frames of a stream in turn and may run side by side."""

    @property
    def lanes(self) -> int:
        """How many; frame number n of a stream belongs to lane n modulo that."""
        ...

    def detect_in(self, lane: int, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands on a frame of that lane. Each lane is called from one thread at a time."""
        ...


EncodedT = TypeVar("EncodedT")


class Segmenter(Protocol[EncodedT]):
    """Carries one mask a hand from frame to frame. Plain synchronous code, called from one thread at a time.

    Two verbs a frame, so that encoding can run beside detection: `encode`, which looks at the picture alone, and
    `step`, which looks at the hands.
    """

    @property
    def takes_clicks(self) -> bool:
        """Whether prompts of points alone, without landmarks, start or correct a mask."""
        ...

    def encode(self, frame: Frame) -> EncodedT:
        """What `step` needs of the picture, whatever hands are on it."""
        ...

    def step(self, encoded: EncodedT, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Advance every hand by one frame.

        Args:
            encoded: From `encode` on the same frame.
            observations: One for every live hand. An id seen for the first time starts a hand; one may be absent for
                some frames, and is back with a prompt.

        Returns:
            A mask by object id; an id is missing where the segmenter has no mask that it trusts.
        """
        ...

    def forget(self, object_id: int) -> None:
        """Drop a hand's memory; unknown ids are ignored."""
        ...

    def reset(self) -> None:
        """Drop every hand's memory: the stream was cut or changed size."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


@runtime_checkable
class PacedSegmenter(Segmenter[EncodedT], Protocol[EncodedT]):
    """A segmenter to which it matters whether frames come at their own pace."""

    def set_live(self, live: bool) -> None:
        """Told before the first frame."""
        ...


class Redetector(Protocol):
    """Finds hands where the landmark detector does not. Plain synchronous code, called from one thread at a time."""

    @property
    def kind(self) -> ReinitialisedBy:
        """What results call it."""
        ...

    def segment(self, frame: Frame) -> HandProbability:
        """Where hands and forearms probably are on `frame`."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


class ProbabilityCarrier(Protocol):
    """Moves what was seen on one frame to where it is on a later one. Called from the redetector's thread."""

    def carry(self, probability: HandProbability, frames: Sequence[Frame]) -> HandProbability:
        """Follow the picture from frame to frame.

        Args:
            probability: What was seen on the first frame.
            frames: That frame and later ones, in order, one or more, all of one size; the last is the target.
        """
        ...


class Prompter(Protocol):
    """Takes what a user points at on the live picture; a tracker. Safe from any thread."""

    def add_prompt(
        self,
        points_xy_px: ArrayLike = (),
        labels: ArrayLike | None = None,
        *,
        track_id: int | None = None,
        box_xyxy_px: tuple[float, float, float, float] | None = None,
    ) -> int:
        """Point at a hand; returns its id. `InvalidInputError` where that means nothing."""
        ...

    def remove_track(self, track_id: int) -> None:
        """Drop a hand. `InvalidInputError` where there is none of that id."""
        ...
