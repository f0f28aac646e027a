"""Trains `refiner`, the network of the `builtin` segmenter, on clips that lie on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import numpy as np
import torch

from gest_stream.device import find_device
from gest_stream.models.cpu_features import multiplies_bfloat16_matrices
from gest_stream.models.refiner import RefinerNet, RefinerSpec, build_refiner, folded
from gest_stream.models.torch_threads import torch_threads
from gest_stream.training.averaging import follow
from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_refiner_episode import Cue, Sample
from gest_stream.training.builtin_refiner_loss import as_batch, refiner_loss
from gest_stream.training.builtin_refiner_pool import ClipPool, EpisodeStream, held_episodes, load_pool
from gest_stream.training.builtin_refiner_start import read_start, start_with
from gest_stream.training.builtin_store import save_builtin
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress, TrainingResult
from gest_stream.training.run import TrainingRun, state_to_start_with
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import BUILTIN, TrainingState

DEFAULT_STEPS: Final = 20_000
DEFAULT_BATCH: Final = 16
DEFAULT_RATE: Final = 2e-3

_WARM_UP: Final = 200
_WEIGHT_DECAY: Final = 0.01
_MAX_NORM: Final = 2.0
_AVERAGE: Final = 0.999
_UNROLL_FROM: Final = 0.06
"""Share of the training after which the network meets its own masks: before, they are nothing."""

_LEAST_CELLS: Final = 24
_HELD_SEED: Final = 1


def train_refiner(
    config: BuiltinTraining, tell: OnProgress, should_stop: Callable[[], bool], spec: RefinerSpec | None = None
) -> TrainingResult:
    """Train from the first step or go on.

    Args:
        config: Settings.
        tell: Is told how far it is.
        should_stop: Whether to pause.
        spec: What the network is built of.

    Raises:
        ConfigError: An unfinished training would be given up, or gone on with otherwise than it was begun.
        InvalidInputError: There are no clips, or they are damaged.
        WeightsError: Those to begin with are absent, damaged or of another network.
        DeviceError: The device is not there.
        SinkError: The outputs cannot be written.
    """
    import cv2

    spec = spec or RefinerSpec()
    state = state_to_start_with(config, BUILTIN, _curve_settings(config, spec))
    if config.threads:
        cv2.setNumThreads(config.threads)  # its threads cost more than they help on pictures this small
    start = read_start(config.init, spec) if config.init is not None else None
    tell(TrainingProgress(Stage.READING, 0, 1))
    pool, held = load_pool(config.data.expanduser()), load_pool(config.data.expanduser(), held_out=True)
    tell(TrainingProgress(Stage.READING, 1, 1))
    with torch_threads(config.threads):
        return RefinerLoop(config, pool, held, state, spec, tell, start).run(should_stop)


class RefinerLoop(TrainingRun[BuiltinTraining, list[Sample]]):
    """The steps of a refiner's training.

    Args:
        config: Settings.
        pool: What is learnt from.
        held: What is measured with.
        state: Where it stands; it is changed.
        spec: What the network is built of.
        tell: Is told how far it is.
        start: Weights to begin with, as `read_start` gives them.
    """

    def __init__(
        self,
        config: BuiltinTraining,
        pool: ClipPool,
        held: ClipPool,
        state: TrainingState,
        spec: RefinerSpec,
        tell: OnProgress,
        start: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        schedule = Schedule.limited(config.steps, config.minutes, _WARM_UP, DEFAULT_STEPS)
        super().__init__(config, state, schedule, tell)
        self._pool, self._held, self._spec = pool, held, spec
        self._device = find_device(config.device)
        torch.manual_seed(config.seed)
        self._net = RefinerNet(spec, normalised=True).to(self._device).to(memory_format=torch.channels_last)
        if start is not None:
            samples = [episode.next() for episode in self._stream(0).begin(0)]
            start_with(self._net, start, as_batch(samples, self._device)[0])
        self._average = {name: value.detach().clone() for name, value in self._net.state_dict().items()}
        self._optimizer = torch.optim.AdamW(self._net.parameters(), state.settings["rate"], weight_decay=_WEIGHT_DECAY)
        # not for AVX512-BF16: there the short run of the tests learnt to carry masks over worse than in float32
        self._half = self._device.type == "cuda" or multiplies_bfloat16_matrices()
        self._beliefs: np.ndarray[Any, Any] | None = None

    def _stream(self, unroll_from: int) -> EpisodeStream:
        return EpisodeStream(self._pool, self._state.settings["batch"], self._spec.grid, self._config.seed, unroll_from)

    def _batches(self, first: int) -> Generator[list[Sample], None, None]:
        settings = self._state.settings
        unroll_from = int(_UNROLL_FROM * settings["steps"]) if settings["steps"] else 500
        stream = self._stream(unroll_from if settings.get("init") is None else 0)
        step = first
        while True:
            episodes = stream.begin(step)
            yield [episode.next() for episode in episodes]
            assert self._beliefs is not None
            for episode, belief in zip(episodes, self._beliefs, strict=True):
                if not episode.over:
                    episode.feed(belief)
            step += 1

    def _learn(self, batch: list[Sample], rate_share: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._state.settings["rate"] * rate_share
        inputs, wanted, known, there = as_batch(batch, self._device)
        self._net.train()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            maps, seen = self._net(inputs.contiguous(memory_format=torch.channels_last))
        loss = refiner_loss(maps, seen, wanted, known, there)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), _MAX_NORM)
        if math.isfinite(value := float(loss.detach())):
            self._optimizer.step()
            follow(self._average, self._net.state_dict(), self._state.step, _AVERAGE)
        self._beliefs = torch.sigmoid(maps[:, 0].detach().float()).cpu().numpy()
        return value

    def _look(self) -> tuple[dict[str, float], float]:
        count = max(1, self._config.val_limit // 4)
        found: dict[str, float] = {}
        right: list[bool] = []
        for cue, name in ((Cue.BOTH, "landmarks"), (Cue.PAST, "carried"), (Cue.REGION, "region"), (Cue.GHOST, "")):
            ious, said = self._measured(cue, count)
            right += said
            if name:
                found[name] = float(np.mean(ious)) if ious else 0.0
            self._tell(TrainingProgress(Stage.MEASURING, len(found), 4))
        found["presence"] = float(np.mean(right)) if right else 0.0
        return found, 0.5 * found["landmarks"] + 0.35 * found["carried"] + 0.15 * found["presence"]

    @torch.inference_mode()
    def _measured(self, cue: Cue, count: int) -> tuple[list[float], list[bool]]:
        """IoU of every hand on every frame that has it, and whether it was told rightly that it is there."""
        net = build_refiner(folded(self._average), self._spec)
        net = net.to(self._device).to(memory_format=torch.channels_last)
        episodes = held_episodes(self._held, cue, count, self._spec.grid, _HELD_SEED)
        ious: list[float] = []
        right: list[bool] = []
        while episodes := [one for one in episodes if not one.over]:
            samples = [episode.next() for episode in episodes]
            inputs, wanted, known, there = as_batch(samples, self._device)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
                maps, seen = net(inputs.contiguous(memory_format=torch.channels_last))
            beliefs = torch.sigmoid(maps[:, 0].float())
            sure = known[:, 0] > 0.5
            mine, truth = (beliefs > 0.5) & sure, (wanted[:, 0] > 0.5) & sure
            shared = (mine & truth).sum(dim=(1, 2)).tolist()
            either = (mine | truth).sum(dim=(1, 2)).tolist()
            area = truth.sum(dim=(1, 2)).tolist()
            for k, episode in enumerate(episodes):
                if area[k] >= _LEAST_CELLS:
                    ious.append(shared[k] / either[k])
                if not math.isnan(samples[k].there):
                    right.append(bool(seen[k] > 0) == bool(samples[k].there))
                if not episode.over:
                    episode.feed(beliefs[k].cpu().numpy())
        return ious, right

    def _keep_best(self) -> None:
        metadata = {
            "preset": self._config.preset,
            "spec": self._spec.as_metadata(),
            "seed": self._config.seed,
            "init": self._state.settings.get("init"),
            "steps": self._state.step,
            "elapsed_s": round(self._state.elapsed_s, 1),
            "clips": self._pool.sizes,
        }
        save_builtin(self._config.out, folded(self._average), metadata)

    def _values(self) -> dict[str, Any]:
        return {
            "net": self._net.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
        }

    def _take(self, values: Mapping[str, Any]) -> None:
        self._net.load_state_dict(values["net"])
        self._average = {name: value.to(self._device) for name, value in values["average"].items()}
        self._optimizer.load_state_dict(values["optimizer"])


def _curve_settings(config: BuiltinTraining, spec: RefinerSpec) -> dict[str, Any]:
    """What the loss curve follows from, beside the clips."""
    steps = config.steps if config.steps is not None or config.minutes is not None else DEFAULT_STEPS
    return {
        "steps": steps,
        "minutes": config.minutes,
        "batch": config.batch or DEFAULT_BATCH,
        "rate": config.rate or DEFAULT_RATE,
        "seed": config.seed,
        "spec": spec.as_metadata(),
        **config.begun_with,
    }
