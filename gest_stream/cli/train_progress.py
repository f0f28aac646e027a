"""What a training shows while it goes on and at its end, and how Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gest_stream.cli.exit_codes import ExitCode
from gest_stream.training.progress import Measurement, OnProgress, StopReason, TrainingProgress, TrainingResult

_REASONS = {
    StopReason.STEPS: "all steps made",
    StopReason.TIME: "the time is over",
    StopReason.PATIENCE: "it does not get better any more",
}

_PARTS = 1000  # the bar's resolution, where time is the limit


@contextmanager
def shown_training(console: Console, on_measured: Callable[[Measurement], None] | None = None) -> Iterator[OnProgress]:
    """What `train_decoder` tells, drawn as one bar a stage and one line a measurement.

    Args:
        console: Where it is drawn.
        on_measured: Is told of every measurement as well.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(progress, on_measured).tell


class _Bars:
    def __init__(self, progress: Progress, on_measured: Callable[[Measurement], None] | None) -> None:
        self._progress = progress
        self._on_measured = on_measured
        self._tasks = {"": progress.add_task("starting", total=None, status="")}

    def tell(self, told: TrainingProgress) -> None:
        key = f"{told.stage} {told.title}".strip()
        if key not in self._tasks:
            self._show_only(self._progress.add_task(key, total=None, status=""))
            self._tasks[key] = self._progress.task_ids[-1]
        else:
            self._show_only(self._tasks[key])
        count = f"{told.done}/{told.total}" if told.total else str(told.done)
        loss = f"  loss {told.loss:.3f}" if told.loss is not None else ""
        completed, total = (told.done, told.total) if not told.share else (int(_PARTS * told.share), _PARTS)
        self._progress.update(self._tasks[key], completed=completed, total=total or None, status=count + loss)
        if told.measured is not None:
            self._progress.console.print(measured_line(told.measured), highlight=False)
            if self._on_measured is not None:
                self._on_measured(told.measured)

    def _show_only(self, shown: int) -> None:
        for task in self._progress.task_ids:
            self._progress.update(task, visible=task == shown)


def measured_line(measured: Measurement) -> str:
    """One line on a measurement."""
    loss = f"loss {measured.loss:.3f}  " if measured.loss is not None else ""
    best = "  best so far" if measured.best else ""
    return f"step {measured.step}  {measured.elapsed_s:.0f} s  {loss}{_ious(measured)}{best}"


def _ious(measured: Measurement) -> str:
    return "IoU " + "  ".join(f"{name} {value:.3f}" for name, value in measured.iou.items())


def run_training(
    train: Callable[[OnProgress, Callable[[], bool]], TrainingResult], console: Console, as_json: bool
) -> TrainingResult:
    """Let a training run, shown on the console; one that was interrupted ends the command with how to go on.

    Args:
        train: Takes what it tells and what says whether to stop.
        console: Where it is drawn.
        as_json: Print one JSON object a measurement on stdout.
    """
    with (
        shown_training(console, _print_record if as_json else None) as tell,
        interruptible(tell) as (heard, should_stop),
    ):
        result = train(heard, should_stop)
    if result.stopped is StopReason.INTERRUPTED:
        print_line(console, f"interrupted after {result.steps} steps; go on with --resume and the same options")
        print_line(console, f"  {result.state}")
        raise typer.Exit(ExitCode.INTERRUPTED)
    return result


def print_result(console: Console, result: TrainingResult, told: str = "") -> None:
    """Say how a training went and where its files are.

    Args:
        console: Where to.
        result: Of a training that came to its end.
        told: How good it became, where there is more to it than the best measurement.
    """
    assert result.best is not None
    told = told or f"best after {result.best.step}: {_ious(result.best)}"
    print_line(console, f"{result.steps} steps in {result.elapsed_s:.0f} s, {_REASONS[result.stopped]}; {told}")
    print_line(console, f"  {result.checkpoint}")
    print_line(console, f"  {result.history}")


def print_line(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, soft_wrap=True)


def _print_record(measured: Measurement) -> None:
    typer.echo(json.dumps(asdict(measured)))


@contextmanager
def interruptible(tell: OnProgress) -> Iterator[tuple[OnProgress, Callable[[], bool]]]:
    """Turn the first Ctrl-C of a training into a clean end.

    Before the first step there is nothing to keep, and Ctrl-C ends the program at once, as a second one does.

    Args:
        tell: Is told on.

    Yields:
        What to tell instead, and the function that says whether to stop.
    """
    stepping = asked = False

    def heard(told: TrainingProgress) -> None:
        nonlocal stepping
        stepping = stepping or told.stage == "training"
        tell(told)

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not stepping:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard, lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
