"""One run from the command line: progress while it goes on, Ctrl-C finishes the files."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from gest_stream.cli.download import get_models_ready
from gest_stream.cli.exit_codes import ExitCode
from gest_stream.cli.progress import shown_progress, summary_line, summary_record

if TYPE_CHECKING:
    from gest_stream.config import PipelineConfig
    from gest_stream.interfaces import Sink, Source
    from gest_stream.pipeline import Pipeline, RunStats


@dataclass(frozen=True, slots=True)
class Verbosity:
    """What a run prints.

    Args:
        quiet: No progress and no summary; errors only.
        json: The summary as one JSON object on stdout, no progress.
    """

    quiet: bool = False
    json: bool = False


def call_on_interrupt(act: Callable[[], None]) -> None:
    """Have SIGINT and SIGTERM call `act` on the running event loop; on Windows Ctrl-C stays a KeyboardInterrupt."""
    import asyncio

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, act)


def run_session(
    source: Source,
    config: PipelineConfig,
    sinks: Sequence[Sink],
    outputs: Sequence[Path | str],
    verbosity: Verbosity,
    on_pipeline: Callable[[Pipeline], None] | None = None,
) -> RunStats:
    """Run `source` through `sinks` and tell how it went.

    Args:
        source: Not yet entered.
        config: Settings.
        sinks: Where results go.
        outputs: What `sinks` write, for the last line.
        verbosity: What is printed.
        on_pipeline: Called with the run's pipeline, once it is open.

    Returns:
        The final counts.

    Raises:
        GestStreamError: What ended the run early.
        typer.Exit: With code 130 where it was interrupted; the files are finished.
    """
    import asyncio

    from gest_stream import build

    console = Console(stderr=True, quiet=verbosity.quiet or verbosity.json)
    get_models_ready(config, console)
    interrupted = False

    async def go() -> RunStats:
        async with build.Pipeline.open(source, config=config, sinks=sinks) as pipeline:

            def interrupt() -> None:
                nonlocal interrupted
                interrupted = True
                pipeline.stop()

            call_on_interrupt(interrupt)
            if on_pipeline is not None:
                on_pipeline(pipeline)
            async with shown_progress(pipeline, console):
                stats = await pipeline.run()
            info = pipeline.info
        if verbosity.json:
            record = summary_record(info, stats, [str(output) for output in outputs], interrupted)
            typer.echo(json.dumps(record))
        console.print(summary_line(info, stats), highlight=False, soft_wrap=True)
        for output in outputs:
            console.print(f"  {output}", highlight=False, soft_wrap=True)
        return stats

    stats = asyncio.run(go())
    if interrupted:
        console.print("interrupted: the files are finished and hold what was processed", highlight=False)
        raise typer.Exit(ExitCode.INTERRUPTED)
    return stats
