"""What the training of a built-in model needs to go on after a break."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gest_stream.errors import WeightsError
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.files import read_training, write_history, write_tensors
from gest_stream.training.progress import Measurement

FORMAT: Final = "gest_stream.builtin.training"

_VERSION: Final = 1
_PACKAGES: Final = ("gest-stream", "torch", "numpy", "opencv-contrib-python", "safetensors")


@dataclass(slots=True)
class BuiltinState:
    """Where a training stands.

    Args:
        settings: What the loss curve follows from, plain values.
        step: Steps made.
        elapsed_s: Time that they and the measurements took.
        losses: Of every step.
        measurements: In their order.
        since_best: Measurements since the best one.
        finished: It ended by itself.
        values: State dicts of network, average, optimizer.
    """

    settings: Mapping[str, Any]
    step: int = 0
    elapsed_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    since_best: int = 0
    finished: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Measurement | None:
        """The best measurement; of equal ones the first."""
        return max(self.measurements, key=lambda one: one.score, default=None)


def write_builtin_state(path: Path, state: BuiltinState) -> None:
    """Write under another name and rename.

    Raises:
        SinkError: It cannot be written.
    """
    names = ("step", "elapsed_s", "losses", "since_best", "finished", "values")
    content = {
        "format": FORMAT,
        "v": _VERSION,
        **{name: getattr(state, name) for name in names},
        "settings": dict(state.settings),
        "measurements": [asdict(one) for one in state.measurements],
    }
    write_tensors(path, content)


def write_builtin_history(config: BuiltinTraining, state: BuiltinState) -> None:
    """Write the history beside the weights.

    Raises:
        SinkError: It cannot be written.
    """
    write_history(
        config.out,
        elapsed_s=state.elapsed_s,
        finished=state.finished,
        losses=state.losses,
        measurements=state.measurements,
        best=state.best,
        told={"settings": asdict(config), "follows_from": dict(state.settings)},
        packages=_PACKAGES,
    )


def read_builtin_state(path: Path) -> BuiltinState:
    """What `write_builtin_state` wrote.

    Raises:
        ConfigError: There is no such file.
        WeightsError: It cannot be read or is something else.
    """
    content = read_training(path, FORMAT, _VERSION)
    try:
        return BuiltinState(
            content["settings"],
            content["step"],
            content["elapsed_s"],
            list(content["losses"]),
            [Measurement(**one) for one in content["measurements"]],
            content["since_best"],
            content["finished"],
            content["values"],
        )
    except (KeyError, TypeError) as exc:
        raise WeightsError(f"{path}: is damaged ({exc!r}); start anew with --overwrite") from exc
