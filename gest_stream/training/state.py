"""What a training needs to go on after a break, in one file that is never half written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.dino_decoder import NetSpec
from gest_stream.training.config import DecoderTraining
from gest_stream.training.files import read_training, write_history, write_tensors
from gest_stream.training.progress import Measurement

FORMAT: Final = "gest_stream.redetector.training"

_VERSION: Final = 1
_PACKAGES: Final = ("gest-stream", "torch", "timm", "numpy", "opencv-contrib-python")


@dataclass(slots=True)
class TrainingState:
    """Where a training stands.

    Args:
        spec: What its network is built of.
        settings: What the loss curve follows from besides the network, from `curve_settings`.
        step: Steps made.
        elapsed_s: Time that they and the measurements took.
        losses: Of every step.
        measurements: In their order.
        since_best: Measurements since the best one.
        finished: It ended by itself.
        values: State dicts of the network, the optimizer and the gradients' scale, and torch's random numbers.
    """

    spec: NetSpec
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


def curve_settings(config: DecoderTraining, data: str) -> dict[str, Any]:
    """The settings that the loss curve follows from; `data` is the fingerprint of the pictures."""
    return {
        "data": data,
        "batch": config.batch,
        "rate": config.rate,
        "backbone_rate": config.backbone_rate,
        "freeze_backbone": config.freeze_backbone,
        "weight_decay": config.weight_decay,
        "warm_up_steps": config.warm_up_steps,
        "dice": config.dice,
        "seed": config.seed,
        **{f"augment.{name}": value for name, value in asdict(config.augment).items()},
    }


def write_state(path: Path, state: TrainingState) -> None:
    """Write under another name and rename.

    Raises:
        SinkError: It cannot be written.
    """
    content = {
        "format": FORMAT,
        "v": _VERSION,
        **{name: getattr(state, name) for name in ("step", "elapsed_s", "losses", "since_best", "finished", "values")},
        "spec": asdict(state.spec) | {"backbone": str(state.spec.backbone)},
        "settings": dict(state.settings),
        "measurements": [asdict(one) for one in state.measurements],
    }
    write_tensors(path, content)


def write_decoder_history(config: DecoderTraining, state: TrainingState) -> None:
    """Write the history beside the checkpoint.

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
        told={"network": asdict(state.spec), "settings": asdict(config)},
        packages=_PACKAGES,
    )


def read_state_file(path: Path) -> TrainingState:
    """What `write_state` wrote.

    Raises:
        ConfigError: There is no such file.
        WeightsError: It cannot be read or is something else.
    """
    content = read_training(path, FORMAT, _VERSION)
    try:
        spec = dict(content["spec"])
        return TrainingState(
            NetSpec(**spec | {name: tuple(spec[name]) for name in ("classes", "levels")}),
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


def check_same_settings(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with settings that the loss curve would break at.

    Raises:
        ConfigError: With what differs.
    """
    changed = [name for name in wanted if stored.get(name) != wanted[name]]
    if not changed:
        return
    shown = [
        "the pictures" if name == "data" else f"{name} was {stored.get(name)!r} and is {wanted[name]!r}"
        for name in changed
    ]
    raise ConfigError(
        f"{path}: was begun with other settings: {'; '.join(shown)}; go on with the same, give it up with --overwrite, "
        "or train on what it reached: --init CHECKPOINT --out ANOTHER.pt"
    )
