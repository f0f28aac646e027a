"""Where a training stands, and what it leaves beside its checkpoint: the state to go on from, and the history."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

from gest_stream.errors import ConfigError, WeightsError
from gest_stream.models.checkpoint import read_content
from gest_stream.training.files import history_path, replace_file, write_tensors
from gest_stream.training.progress import Measurement

_PACKAGES: Final = ("gest-stream", "torch", "timm", "sam2", "numpy", "opencv-contrib-python", "safetensors")
"""Whose versions a history notes."""

_STORED: Final = ("settings", "spec", "step", "elapsed_s", "losses", "finished", "values")


class StateForm(NamedTuple):
    """What a state file calls itself."""

    name: str
    version: int


DECODER: Final = StateForm("gest_stream.redetector.training", 1)
SAM2: Final = StateForm("gest_stream.sam2.training", 2)
BUILTIN: Final = StateForm("gest_stream.builtin.training", 1)


@dataclass(slots=True)
class TrainingState:
    """Where a training stands.

    Args:
        form: Of its file.
        settings: What the loss curve follows from, plain values.
        spec: What its network is built of, plain values, where the settings of a run do not tell that.
        step: Steps made.
        elapsed_s: Time that they and the measurements took.
        losses: Of every step; NaN where no weight was changed.
        measurements: In their order.
        finished: It ended by itself.
        values: What the training puts back when it goes on: state dicts of the network and the optimizer, ….
    """

    form: StateForm
    settings: Mapping[str, Any]
    spec: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    elapsed_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    finished: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Measurement | None:
        """The best measurement; of equal ones the first. Only those count that measured what the newest did."""
        measured = self.measurements[-1].iou.keys() if self.measurements else ()
        return max(
            (one for one in self.measurements if one.iou.keys() == measured), key=lambda one: one.score, default=None
        )

    @property
    def since_best(self) -> int:
        """Measurements since the best one."""
        return len(self.measurements) - 1 - self.measurements.index(self.best) if self.best is not None else 0


def write_state(path: Path, state: TrainingState) -> None:
    """Write under another name and rename.

    Raises:
        SinkError: It cannot be written.
    """
    content = {
        "format": state.form.name,
        "v": state.form.version,
        **{name: getattr(state, name) for name in _STORED},
        "measurements": [asdict(one) for one in state.measurements],
    }
    write_tensors(path, content)


def read_state(path: Path, form: StateForm) -> TrainingState:
    """What `write_state` wrote.

    Raises:
        ConfigError: There is no such file.
        WeightsError: It cannot be read or is something else.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no training to go on with; leave --resume out, or name its --out")
    content = read_content(path)
    if not isinstance(content, dict) or (content.get("format"), content.get("v")) != tuple(form):
        raise WeightsError(f"{path}: is not the state of a training of this version; start anew with --overwrite")
    try:
        measurements = [Measurement(**one) for one in content["measurements"]]
        stored: dict[str, Any] = {name: content[name] for name in _STORED}
        return TrainingState(form, **stored, measurements=measurements)
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


@contextmanager
def fitting_values(path: Path) -> Iterator[None]:
    """Say of which file it is where stored values do not fit what they are put into.

    Raises:
        ConfigError: They do not.
    """
    try:
        yield
    except (KeyError, ValueError, RuntimeError) as exc:
        raise ConfigError(f"{path}: cannot be gone on with ({exc}); start anew with --overwrite") from exc


def write_history(out: Path, state: TrainingState, settings: Mapping[str, Any]) -> None:
    """Write as JSON what a training was told, how its loss fell, how good it became.

    Args:
        out: The checkpoint beside which it lies.
        state: Where it stands; a loss that is no number becomes null.
        settings: What it was told. Of folders in the user's home, the home is left out.

    Raises:
        SinkError: It cannot be written.
    """
    record = {
        "v": 1,
        "steps": len(state.losses),
        "elapsed_s": round(state.elapsed_s, 3),
        "finished": state.finished,
        "best": asdict(state.best) if state.best is not None else None,
        "measurements": [asdict(one) for one in state.measurements],
        "losses": [round(loss, 6) if math.isfinite(loss) else None for loss in state.losses],
        **({"network": state.spec} if state.spec else {}),
        "settings": settings,
        "follows_from": state.settings,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }
    text = json.dumps(record, indent=1, default=_plain) + "\n"
    replace_file(history_path(out), lambda unfinished: unfinished.write_text(text))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> str:
    """A path as JSON has it; a history is handed on, and the name of a home is nobody else's business."""
    if not isinstance(value, Path):
        raise TypeError(f"{value!r} has no place in JSON")
    home = Path.home()
    return f"~/{value.relative_to(home).as_posix()}" if value.is_relative_to(home) else str(value)
