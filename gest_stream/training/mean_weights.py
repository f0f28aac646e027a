"""The mean of the weights of two trainings of one network, of which one began with the other's.

Averaged weights are often as good as the better of the two on what either was measured on, and less easily misled by
what neither was (model soups, Wortsman et al. 2022).

    python -m gest_stream.training.mean_weights before.safetensors after.safetensors --out refiner.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gest_stream.errors import GestStreamError, WeightsError
from gest_stream.models.builtin import read_builtin
from gest_stream.training.builtin_store import save_builtin


def mean_weights(first: Path, second: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The mean of two files' weights, and what the second one notes, with both files under `mean_of`.

    Args:
        first: What `gest-stream train builtin` wrote.
        second: The same of a training that began with the first one's weights (`--init`).

    Raises:
        WeightsError: A file is absent or damaged, or they are weights of different networks.
    """
    (a, _), (b, noted) = read_builtin(first), read_builtin(second)
    if {name: value.shape for name, value in a.items()} != {name: value.shape for name, value in b.items()}:
        raise WeightsError(f"{second}: is another network than {first}; give two files of one preset")
    return {name: (a[name] + b[name]) / 2 for name in b}, {**noted, "mean_of": [first.name, second.name]}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    import typer

    parser = argparse.ArgumentParser(prog="python -m gest_stream.training.mean_weights", description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path, help="of a training that began with the first")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    try:
        save_builtin(given.out, *mean_weights(given.first, given.second))
    except GestStreamError as exc:
        typer.echo(f"mean_weights: {exc}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
