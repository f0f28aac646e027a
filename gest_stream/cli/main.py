"""The `gest-stream` command. Start-up imports nothing heavy: each command loads what it needs."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from gest_stream.cli.bench import bench
from gest_stream.cli.demo import demo
from gest_stream.cli.doctor import doctor
from gest_stream.cli.exit_codes import EPILOG, ExitCode, exit_code_of
from gest_stream.cli.filter import filter_
from gest_stream.cli.models import models_app
from gest_stream.cli.run import run
from gest_stream.cli.serve import serve
from gest_stream.cli.train import train_app
from gest_stream.cli.worker import worker
from gest_stream.errors import GestStreamError

app = typer.Typer(
    name="gest-stream",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
)
app.command(epilog=EPILOG)(run)
app.command(epilog=EPILOG)(serve)
app.command("filter", epilog=EPILOG)(filter_)
app.command(epilog=EPILOG)(worker)
app.command(epilog=EPILOG)(demo)
app.command(epilog=EPILOG)(bench)
app.command(epilog=EPILOG)(doctor)
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"gest-stream {version('gest-stream')}")
        raise typer.Exit


@app.callback()
def common(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log state changes; twice for everything.")
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Track hands in live video: landmarks, masks and measured latency, frame by frame."""
    from rich.console import Console
    from rich.logging import RichHandler

    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=verbose > 0)
    package_log = logging.getLogger("gest_stream")
    package_log.handlers = [handler]
    package_log.setLevel(level)
    logging.getLogger("gest_stream.models.store").setLevel(min(level, logging.INFO))  # fetching takes a while: say so


def main() -> None:
    """Run the command line; a clear error is one line on stderr, a traceback is a bug."""
    try:
        app()
    except GestStreamError as exc:
        typer.secho(f"gest-stream: {exc}", err=True, fg=typer.colors.RED)
        sys.exit(exit_code_of(exc))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
