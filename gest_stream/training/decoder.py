"""Trains the redetector's network; `train_decoder` is `gest-stream train decoder`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import torch
from torch import nn

from gest_stream.config import DinoBackbone, Precision
from gest_stream.errors import ConfigError, DeviceError, ModelError, SinkError, WeightsError
from gest_stream.models.dino_decoder import HandNet, NetSpec, normalise, save_net
from gest_stream.models.sam2_device import Compute
from gest_stream.sinks.output_path import explain_os_error
from gest_stream.training.batches import Batch, batches
from gest_stream.training.config import DecoderTraining
from gest_stream.training.data import TrainingData, loading_threads, prepare_data
from gest_stream.training.files import state_path
from gest_stream.training.measure import measure
from gest_stream.training.network import check_spec, make_net
from gest_stream.training.progress import OnProgress, Stage, TrainingProgress, TrainingResult
from gest_stream.training.run import TrainingRun, memory_is_short, stored_state
from gest_stream.training.schedule import Schedule
from gest_stream.training.state import DECODER, TrainingState, check_same_settings
from gest_stream.training.targets import decoder_loss

_BACKBONE_RATE_SHARE: Final = 1 / 50
_LONGEST_GRADIENT: Final = 1.0


def train_decoder(
    config: DecoderTraining,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Train, measure and keep the best network.

    Args:
        config: Settings.
        on_progress: Is told after every step and picture.
        should_stop: Is asked after every step; True writes the state and ends the training, which can go on later.

    Returns:
        What was written and how it went.

    Raises:
        ConfigError: Settings contradict each other, the data or the training that is to go on.
        InvalidInputError: Data are absent, damaged or built differently.
        WeightsError: Weights are absent, damaged or of another backbone.
        DeviceError: The device is absent or out of memory.
        ModelError: The loss is no number any more.
        SinkError: An output cannot be written.
    """
    tell: OnProgress = on_progress or (lambda progress: None)
    stored = stored_state(config, DECODER)
    spec = None if stored is None else _stored_spec(config, stored)
    device = Compute.choose(config.device, Precision.FLOAT32).device
    net = make_net(config) if spec is None else HandNet(spec)
    data = prepare_data(config, "forearm" in net.spec.classes, tell)
    settings = _curve_settings(config, data.fingerprint())
    if stored is not None:
        check_same_settings(state_path(config.out), stored.settings, settings)
    plain_spec = asdict(net.spec) | {"backbone": str(net.spec.backbone)}
    state = stored or TrainingState(DECODER, settings, plain_spec)
    with _memory_errors(config), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return _Training(config, net, data, state, device, tell).run(should_stop or (lambda: False))


def _stored_spec(config: DecoderTraining, stored: TrainingState) -> NetSpec:
    """The network of the training that is to go on.

    Raises:
        ConfigError: The settings ask for another one.
        WeightsError: They ask for another backbone, or the state is damaged.
    """
    path = state_path(config.out)
    try:
        spec = NetSpec(**{**stored.spec, **{name: tuple(stored.spec[name]) for name in ("classes", "levels")}})
    except (KeyError, TypeError) as exc:
        raise WeightsError(f"{path}: is damaged ({exc!r}); start anew with --overwrite") from exc
    check_spec(spec, config, str(path))
    if config.input_size not in (0, spec.input_size):
        raise ConfigError(f"{path}: was begun with --input-size {spec.input_size}, not {config.input_size}")
    return spec


def _curve_settings(config: DecoderTraining, data: str) -> dict[str, Any]:
    """The settings that the loss curve follows from; `data` is the fingerprint of the pictures."""
    names = ("batch", "rate", "backbone_rate", "freeze_backbone", "weight_decay", "warm_up_steps", "dice", "seed")
    return {
        "data": data,
        **{name: getattr(config, name) for name in names},
        **{f"augment.{name}": value for name, value in asdict(config.augment).items()},
    }


@contextmanager
def _memory_errors(config: DecoderTraining) -> Iterator[None]:
    """Say what helps where memory is short."""
    try:
        yield
    except RuntimeError as exc:
        if not memory_is_short(exc):
            raise
        raise DeviceError(
            f"device {config.device!r}: out of memory with batches of {config.batch}; use a smaller one, "
            f"--batch {max(1, config.batch // 2)}, or a smaller --input-size"
        ) from exc


class _Training(TrainingRun[DecoderTraining, Batch]):
    """A training of the decoder.

    Args:
        config: Settings.
        net: On the CPU; of a resumed training its weights come from `state`.
        data: Pictures.
        state: Where it stands; it is changed.
        device: Where it computes.
        tell: Is told how far it is.
    """

    def __init__(
        self,
        config: DecoderTraining,
        net: HandNet,
        data: TrainingData,
        state: TrainingState,
        device: torch.device,
        tell: OnProgress,
    ) -> None:
        super().__init__(config, state, Schedule.of(config, len(data)), tell)
        self._data, self._device = data, device
        self._net = net.to(device)
        self._picks = data.kept_back(config.val_limit)
        trains_backbone = not config.freeze_backbone or net.spec.backbone is DinoBackbone.NANO
        net.train_backbone(trains_backbone)
        self._optimizer = _make_optimizer(net, config, trains_backbone)
        self._dtype = _amp_dtype(device) if config.amp else None
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype is torch.float16)
        torch.manual_seed(config.seed)

    def _batches(self, first: int) -> Generator[Batch, None, None]:
        return batches(self._data, self._net.spec, self._config, first)

    def _learn(self, batch: Batch, rate_share: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * rate_share
        self._net.train()
        images, shares = batch.images.to(self._device), batch.shares.to(self._device).float() / 255.0
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            logits = self._net(normalise(images))
        loss = decoder_loss(logits, shares, self._config.dice)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._net.parameters(), _LONGEST_GRADIENT)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"step {self._state.step}: the loss is {value}; start again and learn slower: "
                f"--overwrite --rate {self._config.rate / 10:g}"
            )
        return value

    def _look(self) -> tuple[dict[str, float], float]:
        def tell(done: int) -> None:
            self._tell(TrainingProgress(Stage.MEASURING, done, len(self._picks)))

        threads = loading_threads(self._config)
        iou = measure(self._net, self._picks, self._device, self._config.batch, threads, tell)
        return dict(iou), sum(iou.values()) / len(iou) if iou else 0.0

    def _keep_best(self) -> None:
        path = self._config.out
        try:
            save_net(path, self._net)
        except (OSError, RuntimeError) as exc:  # torch tells of a full disk by a RuntimeError
            raise SinkError(explain_os_error(path, exc)) from exc

    def _values(self) -> dict[str, Any]:
        return {
            "net": self._net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }

    def _take(self, values: Mapping[str, Any]) -> None:
        self._net.load_state_dict(values["net"])
        peaks = [group["peak"] for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(values["optimizer"])
        for group, peak in zip(self._optimizer.param_groups, peaks, strict=True):
            group["peak"] = peak
        if self._scaler.is_enabled() and values["scaler"]:
            self._scaler.load_state_dict(values["scaler"])
        torch.set_rng_state(values["random"])
        if self._device.type == "cuda" and values["random_cuda"] is not None:
            torch.cuda.set_rng_state(values["random_cuda"], self._device)


def _make_optimizer(net: HandNet, config: DecoderTraining, trains_backbone: bool) -> torch.optim.AdamW:
    """AdamW over what is trained: encoder and decoder with their own rates, norms and biases without decay."""
    share = 1.0 if net.spec.backbone is DinoBackbone.NANO else _BACKBONE_RATE_SHARE
    backbone_rate = config.backbone_rate if config.backbone_rate is not None else config.rate * share
    groups = []
    for module, rate in ((net.decoder, config.rate), (net.encoder, backbone_rate if trains_backbone else None)):
        if rate is None:
            continue
        weights = [value for value in module.parameters() if value.requires_grad]
        for decays in (True, False):
            own = [value for value in weights if (value.ndim > 1) is decays]
            groups.append({"params": own, "weight_decay": config.weight_decay * decays, "peak": rate})
    return torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.99))


def _amp_dtype(device: torch.device) -> torch.dtype | None:
    """What products are computed in; None is float32."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
