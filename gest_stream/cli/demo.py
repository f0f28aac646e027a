"""`gest-stream demo`: the main job on a clip of rendered hands, so that nobody's footage is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gest_stream.cli.options import EffectOption, JsonOption, QuietOption, SegmenterOption
from gest_stream.cli.progress import make_progress
from gest_stream.cli.run import make_sinks
from gest_stream.cli.session import Verbosity, run_session
from gest_stream.cli.settings import compose_config
from gest_stream.errors import SinkError

_NAMES = ("input.mp4", "masked.mp4", "landmarks.mp4", "hands.jsonl")
_MARKER = ".gest_stream_demo"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the outputs; made where it is absent.")] = Path("demo_out"),
    frames: Annotated[int | None, typer.Option(min=1, help="Length of the clip in frames.")] = None,
    effect: EffectOption = None,
    segmenter: SegmenterOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Render a clip of two hands, track it, and write a masked video, a landmark video and JSON lines."""
    import asyncio

    from gest_stream.sources.open import open_source

    settings = compose_config(None, [], {"effect.kind": effect, "segmenter": segmenter})
    console = Console(stderr=True, quiet=quiet or json)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SinkError(f"{out}: the folder cannot be made: {exc.strerror}; name another one with --out") from exc
    clip, masked, landmarks, lines = (out / name for name in _NAMES)
    _refuse_foreign_files(out)
    asyncio.run(_render_clip(clip, frames, console))
    sinks = make_sinks(settings, masked, landmarks, lines, None)
    run_session(open_source(str(clip)), settings, sinks, [masked, landmarks, lines], Verbosity(quiet, json))


def _refuse_foreign_files(out: Path) -> None:
    """The demo replaces its own files only, which it knows by a marker it leaves in the folder."""
    marker = out / _MARKER
    foreign = [out / name for name in _NAMES if (out / name).exists()]
    if foreign and not marker.exists():
        raise SinkError(f"{foreign[0]}: this file is not the demo's; name another folder with --out")
    try:
        marker.touch()
    except OSError as exc:
        raise SinkError(f"{out}: cannot write there: {exc.strerror}; name another folder with --out") from exc


async def _render_clip(path: Path, frames: int | None, console: Console) -> None:
    from gest_stream.build import save_frames
    from gest_stream.sources.open import open_source

    spec = "synthetic:demo" if frames is None else f"synthetic:demo,frames={frames}"
    with make_progress(console) as progress:
        async with open_source(spec) as source:
            task = progress.add_task("rendering hands", total=source.info.frame_count, status="")
            await save_frames(source, path, lambda frame: progress.advance(task))
