"""Upstream's SAM2VideoPredictor, driven a frame at a time, with seeded weights that make every path matter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.config import Sam2Config, Sam2Runner, Sam2Size
from gest_stream.models.sam2_engine import Sam2Encoded, Sam2Engine
from gest_stream.models.sam2_masks import frame_logits
from gest_stream.models.sam2_nano import narrow_decoder
from gest_stream.models.sam2_weights import CONFIG_FILES, OVERRIDES, build_modules, size_overrides
from gest_stream.types import Prompt, PromptMode

Logits = dict[tuple[int, int], torch.Tensor]
"""(frame, object) to (H, W) mask logits."""


@dataclass(frozen=True)
class Event:
    """One thing that is told on a frame: a prompt for an object, or, without one, that it is to be removed."""

    frame: int
    object_id: int
    prompt: Prompt | None


def seeded_state(modules: Any, seed: int, score_bias: float | None = None) -> dict[str, torch.Tensor]:
    """Random weights under which nothing is degenerate.

    Fresh modules start with zeros and with layer scales of 1e-6, which would hide half of the network; mask logits get
    the spread of a trained model's (about +-15), and object scores get one that can be moved below zero.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = modules.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        if name.endswith("gamma"):
            state[name] = 0.5 + 0.1 * torch.randn(value.shape, generator=generator)
        elif "norm" in name or "LayerNorm" in name:
            state[name] = value + 0.02 * torch.randn(value.shape, generator=generator)
        elif value.abs().max() == 0:
            state[name] = 0.02 * torch.randn(value.shape, generator=generator)
    for name in state:
        if "output_hypernetworks_mlps" in name and "layers.2" in name:
            state[name] = state[name] * 40.0
    head = "sam_mask_decoder.pred_obj_score_head.layers.2"
    state[f"{head}.weight"] = state[f"{head}.weight"] * 200.0
    if score_bias is not None:
        state[f"{head}.bias"] = torch.full_like(state[f"{head}.bias"], score_bias)
    return state


@lru_cache(maxsize=4)
def _seeded(size: Sam2Size, image_size: int, seed: int, overrides: tuple[str, ...]) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return seeded_state(build_modules(size, image_size, overrides), seed + 1)


def weights(
    size: Sam2Size, image_size: int, score_bias: float | None = None, overrides: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """The seeded weights, with the bias of the object score set."""
    state = dict(_seeded(size, image_size, 0, overrides))
    if score_bias is not None:
        name = "sam_mask_decoder.pred_obj_score_head.layers.2.bias"
        state[name] = torch.full_like(state[name], score_bias)
    return state


def make_engine(
    config: Sam2Config,
    state: Mapping[str, torch.Tensor],
    max_objects: int = 8,
    overrides: Sequence[str] = (),
) -> Sam2Engine:
    """Our engine with given weights."""
    modules = build_modules(config.size, config.image_size, overrides)
    modules.load_state_dict(state)
    return Sam2Engine(modules, config, max_objects)


def plain_config(image_size: int, runner: Sam2Runner, **settings: Any) -> Sam2Config:
    """float32 on the CPU, with everything that upstream does not do switched off."""
    settings = {"non_overlap": False, "precision": "float32", "device": "cpu", **settings}
    return Sam2Config(image_size=image_size, runner=runner, **settings)


class Upstream:
    """`SAM2VideoPredictor` on pictures that were made ready by our engine.

    Args:
        size: Which config.
        image_size: Side of the model's square.
        state: Its weights.
        frame_size: (width, height) of the frames.
        overrides: Further settings of its config.
        settings: Attributes set on the predictor.
    """

    def __init__(
        self,
        size: Sam2Size,
        image_size: int,
        state: Mapping[str, torch.Tensor],
        frame_size: tuple[int, int],
        overrides: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        from sam2.build_sam import build_sam2_video_predictor

        settings_of_size = (*OVERRIDES.get(size, ()), *size_overrides(image_size))
        extra = [f"++{one}" for one in (*settings_of_size, *overrides)]
        # without hole filling: it needs the CUDA extension, and warns on every frame where that is absent
        self.predictor = build_sam2_video_predictor(
            f"configs/sam2.1/{CONFIG_FILES[size]}", None, device="cpu", hydra_overrides_extra=extra
        )
        if size is Sam2Size.NANO:
            narrow_decoder(self.predictor)
        self.predictor.load_state_dict(state)
        self.predictor.fill_hole_area = 0
        for name, value in settings.items():
            setattr(self.predictor, name, value)
        self._frame_size = frame_size

    def encode(self, pictures: Sequence[torch.Tensor]) -> list[dict[str, Any]]:
        """What upstream's encoder makes of pictures, (1, 3, S, S) normalised; needed once for many runs."""
        with torch.inference_mode():
            return [self.predictor.forward_image(picture) for picture in pictures]

    def run(self, features: Sequence[dict[str, Any]], events: Sequence[Event]) -> Logits:
        """Every frame in order, each event on its frame.

        Args:
            features: From `encode`.
            events: What happens.
        """
        state = self._state()
        produced: Logits = {}
        for frame, backbone in enumerate(features):
            state["cached_features"] = {frame: (torch.zeros(1, 3, 1, 1), backbone)}
            now = [event for event in events if event.frame == frame]
            with _quiet():
                self._tell(state, frame, now)
                if not state["obj_ids"]:
                    continue
                self._propagate(state, frame, produced)
                corrections = [event for event in now if _refines_tracked(event, now)]
                for event in corrections:
                    self._add(state, frame, event)
                if corrections:
                    self._propagate(state, frame, produced)
        return produced

    def _propagate(self, state: dict[str, Any], frame: int, produced: Logits) -> None:
        for _, ids, logits in self.predictor.propagate_in_video(state, frame, 0):
            produced.update({(frame, one): logits[row, 0].clone() for row, one in enumerate(ids)})

    def _state(self) -> dict[str, Any]:
        """As init_state makes it, without a video on disk."""
        width, height = self._frame_size
        state: dict[str, Any] = {
            name: {}
            for name in (
                "point_inputs_per_obj mask_inputs_per_obj cached_features constants obj_id_to_idx obj_idx_to_id "
                "output_dict_per_obj temp_output_dict_per_obj frames_tracked_per_obj"
            ).split()
        }
        cpu = torch.device("cpu")
        # num_frames of a stream: upstream shortens the pointers' time code on clips below 16 frames
        state |= {"num_frames": 10**9, "obj_ids": [], "device": cpu, "storage_device": cpu}
        return state | {"video_height": height, "video_width": width}

    def _tell(self, state: dict[str, Any], frame: int, events: Sequence[Event]) -> None:
        seen: set[int] = set()
        for event in events:
            if event.prompt is None:
                self.predictor.remove_object(state, event.object_id)
            elif event.prompt.mode is PromptMode.REFINE and event.object_id not in seen:
                continue  # corrects what tracking gives on this frame: later
            else:
                if event.prompt.mode is PromptMode.RESET:
                    self.predictor.remove_object(state, event.object_id, need_output=False)
                self._add(state, frame, event)
                seen.add(event.object_id)

    def _add(self, state: dict[str, Any], frame: int, event: Event) -> None:
        prompt = event.prompt
        assert prompt is not None
        if prompt.mask is not None:
            self.predictor.add_new_mask(state, frame, event.object_id, prompt.mask)
            return
        self.predictor.add_new_points_or_box(
            state,
            frame,
            event.object_id,
            points=prompt.points_xy_px if len(prompt.points_xy_px) else None,
            labels=prompt.labels if len(prompt.labels) else None,
            box=np.array(prompt.box_xyxy_px, np.float32) if prompt.box_xyxy_px is not None else None,
            clear_old_points=prompt.mode is not PromptMode.REFINE or prompt.box_xyxy_px is not None,
        )


def _refines_tracked(event: Event, events: Sequence[Event]) -> bool:
    """Whether an event corrects what tracking gives, not what an earlier prompt of the same frame gave."""
    if event.prompt is None or event.prompt.mode is not PromptMode.REFINE:
        return False
    same = [e for e in events if e.frame == event.frame and e.object_id == event.object_id]
    return same[0].prompt is not None and same[0].prompt.mode is PromptMode.REFINE


class _quiet:
    """Upstream's progress bars, and the warning about its absent CUDA extension."""

    def __enter__(self) -> None:
        import sam2.sam2_video_predictor as module

        self._module: Any = module
        self._tqdm = module.tqdm
        module.tqdm = lambda iterable, **_: iterable
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *exc: object) -> None:
        self._caught.__exit__(*exc)  # type: ignore[arg-type]
        self._module.tqdm = self._tqdm


def run_ours(engine: Sam2Engine, encoded: Sequence[Sam2Encoded], events: Sequence[Event]) -> Logits:
    """Our engine over the same frames and events."""
    produced: Logits = {}
    for frame, picture in enumerate(encoded):
        prompts: dict[int, list[Prompt]] = {}
        for event in events:
            if event.frame == frame and event.prompt is None:
                engine.forget(event.object_id)
            elif event.frame == frame and event.prompt is not None:
                prompts.setdefault(event.object_id, []).append(event.prompt)
        masks = engine.step(picture, prompts)
        if masks.decoded is not None:
            logits = frame_logits(masks)
            produced.update({(frame, one): logits[row, 0].clone() for row, one in enumerate(masks.object_ids)})
    return produced


@dataclass(frozen=True)
class Difference:
    """How two runs differ: largest difference of a logit, share of pixels on the other side of 0, empty masks."""

    largest: float
    flips: float
    absent: float


def compare(ours: Logits, theirs: Logits) -> Difference:
    """Over all frames and objects, which must be the same in both."""
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())[:5]
    assert ours, "nothing was tracked"
    largest = max(float((ours[key] - theirs[key]).abs().max()) for key in ours)
    flips = float(np.mean([float(((ours[key] > 0) != (theirs[key] > 0)).float().mean()) for key in ours]))
    absent = float(np.mean([bool((theirs[key] < -1000).all()) for key in theirs]))
    return Difference(largest, flips, absent)


def pictures_of(engine: Sam2Engine, images: Sequence[NDArray[np.uint8]]) -> list[torch.Tensor]:
    """The encoder's inputs of frames, as the engine makes them."""
    with torch.inference_mode():
        return [engine._upload(image) for image in images]
