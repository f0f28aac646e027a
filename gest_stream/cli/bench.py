"""`gest-stream bench`: how fast, how late and how good this machine tracks; and two such records compared."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gest_stream.cli.download import get_models_ready
from gest_stream.cli.exit_codes import ExitCode
from gest_stream.cli.options import Given, QuietOption, tracking_options
from gest_stream.errors import GestStreamError

if TYPE_CHECKING:
    from gest_stream.bench.plan import BenchPlan, BenchProgress, OnProgress
    from gest_stream.bench.record import Record
    from gest_stream.config import PipelineConfig

_BENCH = "Benchmark"


@tracking_options
def bench(
    source: Annotated[
        str | None,
        typer.Option(
            help="What is played instead of the rendered clip: anything that 'run' takes. Without a truth about it "
            "there is no quality; some seconds of what is no file are recorded for the parts that play it again.",
            rich_help_panel=_BENCH,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A minute instead of seven.", rich_help_panel=_BENCH)] = False,
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this part: stages, live, throughput, hands, sources, memory or quality; may be repeated.",
            rich_help_panel=_BENCH,
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the record.", rich_help_panel=_BENCH)] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: .png, .svg or .pdf.", rich_help_panel=_BENCH)
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A.json B.json", help="Measure nothing; compare two records.", rich_help_panel=_BENCH),
    ] = None,
    *,
    given: Given,
    quiet: QuietOption = False,
) -> None:
    """Measure stages, latency, throughput, scale, memory and quality; Ctrl-C leaves what was measured."""
    if compare is not None:
        _compare(*compare)
        return
    from gest_stream.bench.plan import BenchPlan, quick_plan
    from gest_stream.bench.record import PARTS

    config = given.settings()
    parts = tuple(part) if part else PARTS
    plan = quick_plan(parts) if quick else BenchPlan(parts=parts)
    _check_outputs(json, plot, source)
    record, failure = _measured(plan, config, source, Console(stderr=True, quiet=quiet))
    _write(record, json, plot, quiet)
    if isinstance(failure, GestStreamError):
        raise failure
    if failure is not None:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _compare(first: Path, second: Path) -> None:
    from gest_stream.bench.compare import compare, differences
    from gest_stream.bench.record_file import load_record
    from gest_stream.cli.bench_tables import print_comparison

    before, after = load_record(first), load_record(second)
    print_comparison(compare(before, after), differences(before, after), Console())


def _check_outputs(json: Path | None, plot: Path | None, source: str | None) -> None:
    """Refuse now what could not be written when everything is measured."""
    from gest_stream.sinks.output_path import check_output_file

    for path in (json, plot):
        if path is not None:
            check_output_file(path, source or "")
    if plot is not None:
        from gest_stream.bench.plots import check_plotting

        check_plotting()


def _measured(
    plan: BenchPlan, config: PipelineConfig, source: str | None, console: Console
) -> tuple[Record, GestStreamError | KeyboardInterrupt | None]:
    """What was measured, and what ended it early."""
    from gest_stream.bench.run import Bench

    get_models_ready(config, console)
    with _interrupting(), _shown(console) as tell, Bench(plan, config, source, tell) as running:
        try:
            running.run()
        except (GestStreamError, KeyboardInterrupt) as exc:
            return running.record(complete=False), exc
        return running.record(complete=True), None


def _write(record: Record, json: Path | None, plot: Path | None, quiet: bool) -> None:
    from gest_stream.bench.record_file import as_json
    from gest_stream.cli.bench_tables import print_record

    if not quiet:
        print_record(record, Console())
    if json is not None:
        json.write_text(as_json(record), encoding="utf-8")
    if plot is not None:
        from gest_stream.bench.plots import draw_record

        draw_record(record, plot)


@contextmanager
def _shown(console: Console) -> Iterator[OnProgress]:
    """One bar: what is being measured, and how far the whole is; a line for each part where nobody could see a bar."""
    if not console.is_terminal:
        yield _lines(console)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("starting", total=1)

        def tell(told: BenchProgress) -> None:
            text = f"{told.part} {told.detail}".strip()
            progress.update(task, description=text, completed=told.done, total=max(told.total, 1))

        yield tell


def _lines(console: Console) -> OnProgress:
    last = ""

    def tell(told: BenchProgress) -> None:
        nonlocal last
        text = told.part if told.part == "clip" else f"{told.part} {told.detail}".strip()
        if text != last:
            last = text
            console.print(text, highlight=False)

    return tell


@contextmanager
def _interrupting() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)  # asyncio's handler, while it runs, ends a run in order
        else:  # a shell starts what is in its background with Ctrl-C ignored
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
