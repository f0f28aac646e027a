"""`gest-stream models`: the weight files, where they are and whether they are sound."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from gest_stream.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from gest_stream.models.store import StoredModel

models_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify the model files.")

NameArgument = Annotated[str, typer.Argument(help="A name that `gest-stream models list` shows.")]


def _record(model: StoredModel) -> dict[str, object]:
    return {
        "name": model.file.name,
        "short_name": model.file.names[0],
        "purpose": model.file.purpose,
        "status": str(model.status),
        "path": str(model.path),
        "url": model.file.url,
        "bytes": model.file.official.size_bytes,
        "sha256": model.file.official.sha256,
    }


@models_app.command("list")
def list_models(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every model file: its short name, its size and whether it is here."""
    from rich.console import Console
    from rich.table import Column, Table

    from gest_stream.models.store import ModelStore

    models = ModelStore().list()
    if json:
        typer.echo(json_module.dumps([_record(model) for model in models], indent=2))
        return
    table = Table("name", Column("file", overflow="fold"), "status", Column("MB", justify="right"), "use")
    for model in models:
        size = model.file.official.size_bytes
        megabytes = f"{size / 1e6:.1f}" if size else "?"
        table.add_row(model.file.names[0], model.file.name, str(model.status), megabytes, model.file.purpose)
    Console().print(table)


@models_app.command()
def fetch(name: NameArgument) -> None:
    """Download a model file, check its size and SHA-256, and print where it lies.

    A download that was broken off goes on where it ended.
    """
    from rich.console import Console

    from gest_stream.cli.download import download_progress
    from gest_stream.models.store import ModelStore

    with download_progress(Console(stderr=True)) as progress:
        path = ModelStore(progress=progress).fetch(name)
    typer.echo(str(path))


@models_app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A model name; all that are here where it is left out.")] = None,
) -> None:
    """Read the model files that are here and check their size and SHA-256."""
    from gest_stream.models.store import ModelStatus, ModelStore

    store = ModelStore()
    if name is not None:
        typer.echo(f"{name}: ok  {store.verify(name)}")
        return
    present = [model for model in store.list(reread=True) if model.status is not ModelStatus.ABSENT]
    if not present:
        typer.echo("no model file is here yet; fetch one with: gest-stream models fetch hand_landmarker")
    for model in present:
        typer.echo(f"{model.file.name}: {model.status}  {model.path}")
    if any(model.status is ModelStatus.DAMAGED for model in present):
        raise typer.Exit(ExitCode.MODEL)
