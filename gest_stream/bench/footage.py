"""What a benchmark plays: the package's own clip, or whatever a user names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from gest_stream.bench.clips import BenchClip, Tell, main_config, synthetic_clip
from gest_stream.bench.looped import LoopedFile, PlayFile
from gest_stream.config import PipelineConfig
from gest_stream.errors import SourceOpenError
from gest_stream.interfaces import Source
from gest_stream.sources.file import FileSource
from gest_stream.sources.open import open_source
from gest_stream.url import redacted

SOURCE: Final = "source"
_RATE_WHERE_UNKNOWN: Final = Fraction(30)


@dataclass(frozen=True, slots=True)
class Footage:
    """What is played.

    Args:
        name: For the record, without passwords.
        clip: Files, and the truth where it is known.
        open_live: The live source itself; None where files are played in its place.
    """

    name: str
    clip: BenchClip
    open_live: Callable[[], Source] | None = None

    def live_source(self, name: str) -> Source:
        """A source at its own pace: the live one, or the file of that name in a loop."""
        return self.open_live() if self.open_live is not None else LoopedFile(self.clip.files[name], realtime=True)

    def file(self, name: str) -> PlayFile:
        """The file of that name; a user's own source has one, whatever it is asked for."""
        files = self.clip.files
        return files[name] if name in files else files[SOURCE]


def own_footage(quick: bool, cache: Path, tell: Tell) -> Footage:
    """The clip that comes with the package, rendered once.

    Raises:
        SourceError: It cannot be rendered or kept.
    """
    return Footage("synthetic", synthetic_clip(main_config(quick), cache, tell))


def footage_of(text: str, config: PipelineConfig, folder: Path, cache: Path, recorded_s: float, tell: Tell) -> Footage:
    """What `--source` names. A video file is played; of anything else some seconds are recorded and played.

    Args:
        text: As `gest-stream run` takes it; "synthetic:…" is rendered, and its truth known.
        config: Of the source.
        folder: Where a recording goes.
        cache: Where a rendered clip is kept.
        recorded_s: Length of a recording, seconds.
        tell: Is told how many frames are rendered.

    Raises:
        SourceError: It cannot be read.
    """
    if text.startswith("synthetic:"):
        from gest_stream.sources.synthetic import parse_synthetic_spec

        return Footage(text, synthetic_clip(parse_synthetic_spec(text), cache, tell))

    def open_again() -> Source:
        return open_source(text, config=config.source, rtc=config.rtc)

    source = open_again()
    if isinstance(source, FileSource):
        file = asyncio.run(_described(source, Path(text.removeprefix("file://"))))
        return Footage(redacted(text), BenchClip({SOURCE: file}, None, file.frames))
    file, live = asyncio.run(_recorded(source, folder / "source.mkv", recorded_s))
    return Footage(redacted(text), BenchClip({SOURCE: file}, None, file.frames), open_again if live else None)


async def _described(source: Source, path: Path) -> PlayFile:
    async with source:
        info = source.info
    return PlayFile(path, info.size, info.average_rate or _RATE_WHERE_UNKNOWN, info.frame_count or 0)


async def _recorded(source: Source, path: Path, seconds: float) -> tuple[PlayFile, bool]:
    from gest_stream.build import save_frames

    frames = 0

    def count(_: object) -> None:
        nonlocal frames
        frames += 1

    async with source:
        info = source.info
        asyncio.get_running_loop().call_later(seconds, source.stop)
        await save_frames(source, path, count)
    if not frames:
        raise SourceOpenError(f"{info.name}: gave no frame within {seconds:g} s; check that it is running")
    return PlayFile(path, info.size, info.average_rate or Fraction(max(round(frames / seconds), 1)), frames), info.live
