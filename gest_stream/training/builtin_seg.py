"""Trains hand-seg; `train_hand_seg` is `gest-stream train builtin --preset hand-seg`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from gest_stream.config import Precision
from gest_stream.errors import ModelError
from gest_stream.models.builtin import read_builtin
from gest_stream.models.hand_seg_net import ARCHITECTURE, CLASSES, INPUT_PX, HandSegNet, net_of
from gest_stream.models.sam2_device import Compute
from gest_stream.models.torch_threads import torch_threads
from gest_stream.training.averaging import follow
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_seg_data import (
    SegBatch,
    SegPicture,
    SegPictures,
    batches,
    load_held_out_pictures,
    load_training_pictures,
    network_input,
    training_clips,
)
from gest_stream.training.builtin_store import save_builtin
from gest_stream.training.labels import FOREARM, HAND, IGNORE
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress, TrainingResult
from gest_stream.training.run import TrainingRun, state_to_start_with
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import BUILTIN, TrainingState
from gest_stream.training.targets import decoder_loss
from gest_stream.training.wide_clips import ClipKind

DEFAULT_STEPS: Final = 8000
DEFAULT_BATCH: Final = 16
DEFAULT_RATE: Final = 2e-3

_WARM_UP_STEPS: Final = 200
_WEIGHT_DECAY: Final = 0.02
_DICE: Final = 1.0
_LONGEST_GRADIENT: Final = 1.0
_AVERAGE_DECAY: Final = 0.998
"""Of the moving average of the weights, which is what is measured and kept."""
_SMALL_SHARE: Final = 0.4
"""Of the steps, with smaller pictures, where the number of steps is known and nothing was learnt before: a network
learns what it looks for before it learns where the edges are (progressive learning, Tan and Le 2021)."""
_MEASURE_BATCH: Final = 16
_FEW: Final = 0.001
"""Share of a picture that is too little to be called a hand."""


def train_hand_seg(config: BuiltinTraining, tell: OnProgress, should_stop: Callable[[], bool]) -> TrainingResult:
    """Train, measure and keep the best network.

    Args:
        config: Settings.
        tell: Is told after every step.
        should_stop: Is asked after every step; True writes the state and ends the training, which can go on later.

    Raises:
        ConfigError: The training that is to go on was begun with other settings.
        InvalidInputError: There are no clips, or one is damaged.
        WeightsError: Those to begin with are absent, damaged or another model's.
        DeviceError: The device is not there.
        ModelError: The loss is no number any more.
        SinkError: An output cannot be written.
    """
    state = state_to_start_with(config, BUILTIN, _curve_settings(config))
    threads = config.threads or torch.get_num_threads()

    def tell_read(done: int, total: int) -> None:
        tell(TrainingProgress(Stage.READING, done, total, "clips"))

    learnt = load_training_pictures(config.data, threads, tell_read)
    kept = load_held_out_pictures(config.data, config.val_limit, threads)
    with torch_threads(config.threads):
        compute = Compute.choose(config.device, Precision.AUTO)  # what is quicker depends on the threads
        with torch.random.fork_rng(devices=[compute.device] if compute.is_cuda else []):
            return _Training(config, learnt, kept, state, compute, tell).run(should_stop)


def _curve_settings(config: BuiltinTraining) -> dict[str, object]:
    """What may not change when a training goes on; it may become longer, and learn from clips that came meanwhile."""
    return {
        "architecture": ARCHITECTURE,
        "batch": config.batch or DEFAULT_BATCH,
        "rate": config.rate or DEFAULT_RATE,
        "seed": config.seed,
        **config.begun_with,
    }


class _Training(TrainingRun[BuiltinTraining, SegBatch]):
    """A training of hand-seg.

    Args:
        config: Settings.
        learnt: What is learnt from.
        kept: What is measured with.
        state: Where it stands; it is changed.
        compute: Where it computes.
        tell: Is told how far it is.
    """

    def __init__(
        self,
        config: BuiltinTraining,
        learnt: SegPictures,
        kept: SegPictures,
        state: TrainingState,
        compute: Compute,
        tell: OnProgress,
    ) -> None:
        schedule = Schedule.limited(config.steps, config.minutes, _WARM_UP_STEPS, DEFAULT_STEPS)
        super().__init__(config, state, schedule, tell)
        self._learnt, self._kept, self._compute = learnt, kept, compute
        torch.manual_seed(config.seed)
        first = HandSegNet() if config.init is None else net_of(*read_builtin(config.init), str(config.init))
        self._net = first.to(compute.device).to(memory_format=torch.channels_last)
        self._average = HandSegNet().to(compute.device).to(memory_format=torch.channels_last)
        self._average.load_state_dict(self._net.state_dict())
        self._rate = config.rate or DEFAULT_RATE
        self._optimizer = _make_optimizer(self._net, self._rate)

    def _batches(self, first: int) -> Generator[SegBatch, None, None]:
        config = self._config
        threads = max(1, config.threads or torch.get_num_threads() // 2)
        steps = self._schedule.steps
        learns_anew = self._state.settings.get("init") is None
        small_until = int(_SMALL_SHARE * steps) if math.isfinite(steps) and learns_anew else 0
        return batches(self._learnt, config.seed, config.batch or DEFAULT_BATCH, first, threads, small_until)

    def _learn(self, batch: SegBatch, rate_share: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * rate_share
        self._net.train()
        device, dtype = self._compute.device, self._compute.dtype
        with torch.autocast(device.type, dtype, enabled=dtype is torch.bfloat16):
            logits = self._net(batch.images.to(device))
        loss = decoder_loss(logits, batch.shares.to(device).float() / 255.0, _DICE, each_picture=True)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._net.parameters(), _LONGEST_GRADIENT)
        self._optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"step {self._state.step}: the loss is {value}; start again and learn slower: "
                f"--overwrite --rate {self._rate / 4:g}"
            )
        follow(self._average.state_dict(), self._net.state_dict(), self._state.step, _AVERAGE_DECAY)
        return value

    def _look(self) -> tuple[dict[str, float], float]:
        iou = measure_pictures(self._average, self._kept, self._compute)
        # clips that were made meanwhile; with all of them there from the start, all follows from the seed
        self._learnt.read(training_clips(self._config.data), None, 1)
        hands = [value for name, value in iou.items() if name.endswith(" hand")]
        return iou, sum(hands) / len(hands) if hands else 0.0

    def _keep_best(self) -> None:
        config, state = self._config, self._state
        noted = {
            "architecture": ARCHITECTURE,
            "preset": config.preset,
            "classes": list(CLASSES),
            "input_px": INPUT_PX,
            "steps": state.step,
            "seed": config.seed,
            "init": state.settings.get("init"),
            "batch": config.batch or DEFAULT_BATCH,
            "pictures": self._learnt.counts,
        }
        save_builtin(config.out, self._average.state_dict(), noted)

    def _values(self) -> dict[str, Any]:
        return {
            "net": self._net.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def _take(self, values: Mapping[str, Any]) -> None:
        self._net.load_state_dict(values["net"])
        self._average.load_state_dict(values["average"])
        self._optimizer.load_state_dict(values["optimizer"])


def _make_optimizer(net: HandSegNet, rate: float) -> torch.optim.AdamW:
    """AdamW; norms and biases without decay."""
    groups = [
        {
            "params": [value for value in net.parameters() if (value.ndim > 1) is decays],
            "weight_decay": _WEIGHT_DECAY * decays,
        }
        for decays in (True, False)
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))


@torch.inference_mode()
def measure_pictures(net: HandSegNet, pictures: SegPictures, compute: Compute) -> dict[str, float]:
    """Intersection over union by kind of picture and class, at the network's size, over the pixels that are known.

    It is the mean of the pictures that have the class or are said to have it, so that seeing what is not there counts.

    Returns:
        By "rendered hand", "rendered forearm", "real hand", …; a class that no picture of a kind has is absent. As
        "empty hand" the share of pictures without a hand in which none is seen, but for a few pixels.
    """
    net.eval()
    found: dict[str, float] = {}
    for kind, own in pictures.by_kind.items():
        answered = [pair for chunk in _of_one_shape(own) for pair in _answers(net, chunk, compute)]
        if kind is ClipKind.EMPTY:
            alone = [int((said == CLASSES.index("hand")).sum()) < _FEW * said.size for said, _ in answered]
            found[f"{kind} hand"] = sum(alone) / len(alone)
            continue
        with_arms = [pair for pair in answered if pair[1].arms_labelled]
        for name, label, told in (("hand", HAND, answered), ("forearm", FOREARM, with_arms)):
            ious = [_iou(said == CLASSES.index(name), one.picture.labels, label) for said, one in told]
            if any((one.picture.labels == label).any() for _, one in told):
                known = [iou for iou in ious if iou is not None]
                found[f"{kind} {name}"] = sum(known) / len(known)
    return found


def _answers(
    net: HandSegNet, chunk: Sequence[SegPicture], compute: Compute
) -> list[tuple[NDArray[np.int64], SegPicture]]:
    """The class of every pixel of pictures of one size."""
    images = torch.stack([torch.from_numpy(network_input(one)[0]) for one in chunk]).to(compute.device)
    answers = F.interpolate(net(images).float(), size=images.shape[1:3], mode="bilinear").argmax(dim=1).cpu().numpy()
    width, height = chunk[0].picture.size
    return [(answer[:height, :width], one) for answer, one in zip(answers, chunk, strict=True)]


def _iou(said: NDArray[np.bool_], labels: NDArray[np.uint8], label: int) -> float | None:
    """None where neither is anything."""
    mine, truth = said & (labels != IGNORE), labels == label
    either = int(np.count_nonzero(mine | truth))
    return int(np.count_nonzero(mine & truth)) / either if either else None


def _of_one_shape(pictures: Sequence[SegPicture]) -> list[list[SegPicture]]:
    """Chunks of pictures that can be stacked."""
    by_size: dict[tuple[int, int], list[SegPicture]] = {}
    for one in pictures:
        by_size.setdefault(one.picture.size, []).append(one)
    return [
        same[start : start + _MEASURE_BATCH]
        for same in by_size.values()
        for start in range(0, len(same), _MEASURE_BATCH)
    ]
