"""`gest-stream filter`: a stream in on standard input, the same stream with the effect in its pictures out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from gest_stream.cli.choices import choice_option
from gest_stream.cli.options import Given, QuietOption, tracking_options
from gest_stream.cli.session import Verbosity, run_session
from gest_stream.config import BufferConfig, BufferPolicy, PipelineConfig
from gest_stream.errors import ConfigError, SinkError
from gest_stream.pipe.encoding import PipeFormat, PipeOptions

if TYPE_CHECKING:
    from gest_stream.interfaces import Sink

_OUT = "Outputs"


@tracking_options
def filter_(
    format: Annotated[
        PipeFormat | None,
        choice_option(
            "--format",
            PipeFormat,
            "Container of the output; the input's by default. y4m carries neither sound nor times.",
            _OUT,
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="FFmpeg's name of the video encoder: raw pictures by default.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    codec_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For the encoder, as crf=20; may be repeated.", rich_help_panel=_OUT),
    ] = None,
    save_json: Annotated[
        Path | None, typer.Option(help="One JSON object a frame (.jsonl), beside the stream.", rich_help_panel=_OUT)
    ] = None,
    *,
    given: Given,
    quiet: QuietOption = False,
) -> None:
    """Read NUT, Matroska or y4m on stdin, draw the effect, write the same on stdout.

    Every frame is processed and keeps its time; sound and subtitles are passed through as they are.

    ffmpeg -i in.mp4 -c:v rawvideo -c:a copy -f nut - | gest-stream filter --effect green | ffmpeg -i - out.mp4
    """
    settings = given.settings()
    # every frame: one that is left out would leave a gap in a stream that others count on
    lossless = BufferConfig(BufferPolicy.LOSSLESS, settings.buffer.depth, settings.buffer.sink_depth)
    options = PipeOptions(format, codec, parse_codec_options(codec_option or []))
    with claimed_stdout() as out:
        filter_stdin(out, replace(settings, buffer=lossless), options, save_json, quiet)


def filter_stdin(
    stdout: BinaryIO,
    settings: PipelineConfig,
    options: PipeOptions,
    save_json: Path | None = None,
    quiet: bool = False,
) -> None:
    """Run the stream on standard input through the tracker.

    Args:
        stdout: Where it goes.
        settings: Settings; the effect's are what is drawn.
        options: Container and codec.
        save_json: File for the results, if any.
        quiet: Print errors only.

    Raises:
        GestStreamError: What ended it early.
        typer.Exit: With code 130 where it was interrupted; the stream that was written is whole.
    """
    from gest_stream.pipe.passage import Passage
    from gest_stream.pipe.sink import PipeSink
    from gest_stream.pipe.source import PipeSource
    from gest_stream.pipe.stdout import grow_pipe

    grow_pipe(sys.stdin.buffer)
    grow_pipe(stdout)
    passage, interrupted = Passage(), threading.Event()
    source = PipeSource(passage, on_stop=interrupted.set)
    sinks: list[Sink] = [PipeSink(source, passage, stdout, settings.effect, options, interrupted.is_set)]
    if save_json is not None:
        from gest_stream.sinks.jsonl import JsonlSink

        sinks.append(JsonlSink(save_json))
    run_session(source, settings, sinks, [] if save_json is None else [save_json], Verbosity(quiet))


def claimed_stdout() -> BinaryIO:
    """Standard output for the stream alone: whatever else is printed in this process goes to standard error.

    Raises:
        SinkError: It is a terminal.
    """
    if sys.stdout.isatty():
        raise SinkError(
            "standard output: is a terminal, where a video is of no use; pipe it: gest-stream filter ... | ffplay -i -"
        )
    sys.stdout.flush()
    descriptor = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native code (MediaPipe) prints there too
    return os.fdopen(descriptor, "wb", buffering=0)


def parse_codec_options(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping.

    Raises:
        ConfigError: One has another form.
    """
    pairs = [text.partition("=") for text in texts]
    for text, (key, found, _) in zip(texts, pairs, strict=True):
        if not found or not key:
            raise ConfigError(f"--codec-option {text}: expected KEY=VALUE, for example crf=20")
    return {key: value for key, _, value in pairs}
