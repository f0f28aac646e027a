"""A folder of pictures, played in the order a person would sort them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from os import PathLike
from pathlib import Path

from gest_stream.clock import now_ns
from gest_stream.errors import ConfigError, SourceLostError, SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.container import paced
from gest_stream.sources.decode import open_container
from gest_stream.sources.picture import RgbConverter
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.types import Frame

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts "frame2" before "frame10", and upper case beside lower case."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", name)]


class ImagesSource(ThreadedSource):
    """Every image of a folder, in natural order; pts counts them.

    Args:
        folder: Holds the images (png, jpg, webp, bmp, tiff, ppm); anything else in it is ignored.
        rate: Frames per second they are played at; None is 30.
        realtime: Play at that rate, as a live source.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.

    Raises:
        ConfigError: `rate` is not above 0.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        rate: float | None = None,
        realtime: bool = False,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(str(folder))
        if rate is not None and not 0 < rate <= 1000:
            raise ConfigError(f"{folder}: rate: expected frames per second above 0, up to 1000, got {rate!r}")
        self._folder = Path(folder)
        # 29.97 means 30000/1001 to nobody who types it for a folder of images; a small denominator is enough.
        self._rate = Fraction(30) if rate is None else Fraction(rate).limit_denominator(1001)
        self._realtime = realtime
        self._clock = clock
        self._wait = wait or self._stopping.wait
        self._converter = RgbConverter()
        self._paths: list[Path] = []

    def _open(self) -> SourceInfo:
        self._paths = image_paths(self._folder)
        self._first = self._load(0, SourceOpenError)
        return SourceInfo(self._name, self._realtime, self._first.size, 1 / self._rate, self._rate, len(self._paths))

    def _frames(self) -> Iterator[Frame]:
        frames = self._in_order()
        return paced(frames, self._clock, self._wait) if self._realtime else frames

    def _close(self) -> None:
        """Each image is closed once it is read."""

    def _in_order(self) -> Iterator[Frame]:
        yield self._first
        for index in range(1, len(self._paths)):
            frame = self._load(index, SourceLostError)
            if frame.size != self._first.size:
                raise SourceLostError(
                    f"{self._paths[index]}: is {frame.width}x{frame.height} pixels, but {self._paths[0].name} is "
                    f"{self._first.width}x{self._first.height}; resize or remove it, all images must have one size"
                )
            yield frame

    def _load(self, index: int, error: type[SourceOpenError] | type[SourceLostError]) -> Frame:
        import av

        path = self._paths[index]
        remedy = "replace or remove it"
        try:
            # The bytes, not the path: FFmpeg would take "%d" in a name for a numbering pattern.
            data = io.BytesIO(path.read_bytes())
            with open_container(data, str(path)) as container:
                frame = next(container.decode(video=0))
        except OSError as exc:
            raise error(f"{path}: cannot be read ({exc.strerror}); {remedy}") from exc
        except (SourceOpenError, av.FFmpegError, StopIteration, IndexError) as exc:
            raise error(f"{path}: is not an image that can be decoded; {remedy}") from exc
        captured_ns = self._clock()
        return Frame(self._converter.convert(frame), index, 1 / self._rate, captured_ns, index)


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder in natural order.

    Raises:
        SourceOpenError: The folder cannot be listed or holds none.
    """
    try:
        entries = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    except OSError as exc:
        raise SourceOpenError(f"{folder}: cannot be listed ({exc.strerror}); check the path") from exc
    images = sorted(
        (entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES), key=lambda path: natural_key(path.name)
    )
    if not images:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise SourceOpenError(f"{folder}: holds no images among its {len(entries)} files; known are {known}")
    return images
