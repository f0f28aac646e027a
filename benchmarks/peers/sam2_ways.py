"""A clip through SAM2 from frames in memory to boolean masks of their size: ours, upstream's and transformers'.

All have the same seeded weights, image size, precision and boxes on the first frame. Ours and transformers' take a
frame when it comes. Upstream's predictor takes a folder of JPEG files, as gest_detectron gives it one: no mask before
the clip has ended, was written and was read back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.footage import Footage
from benchmarks.peers.rounds import Clock, Outcome
from benchmarks.peers.sam2_systems import as_in_notebooks, build_predictor, tf32
from benchmarks.peers.sam2_transformers import build_transformers_model
from benchmarks.sam2_clip import Model, make_engine
from benchmarks.sam2_timing import tensor_bytes
from gest_stream.config import Precision, Sam2Runner
from gest_stream.models.sam2_masks import frame_logits

JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Setting:
    """What is equal for all of them.

    Args:
        model: Which model.
        state: Its weights.
        device: A torch device.
        precision: What they compute in.
        objects: How many they follow.
    """

    model: Model
    state: Mapping[str, torch.Tensor]
    device: torch.device
    precision: Precision
    objects: int


class OurSam2:
    """`Sam2Engine`, a frame at a time.

    Args:
        setting: The common one.
        runner: Which of its runners.
    """

    about = "gest_stream's Sam2Engine: encode and step, a frame at a time"

    def __init__(self, setting: Setting, runner: Sam2Runner = Sam2Runner.AUTO) -> None:
        self.name = "ours" if runner is Sam2Runner.AUTO else f"ours, {runner}"
        one = setting
        self._engine = make_engine(one.model, one.state, str(one.device), runner, one.precision, one.objects)
        if one.device.type == "cuda":
            self._engine.warmup((1280, 720), one.objects)

    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        self._engine.reset()
        clip, clock = footage.as_clip(), Clock()
        for seq, image in enumerate(footage.images):
            masks = self._engine.step(self._engine.encode(image), clip.prompts() if seq == 0 else None)
            with torch.inference_mode():
                kept = (frame_logits(masks) > 0).cpu().numpy()
            clock.frame(kept.shape[0] > 0)
        return clock.stop(held_bytes=self._engine.state_bytes)


class UpstreamFolder:
    """`SAM2VideoPredictor`: JPEG folder, `init_state`, boxes, `propagate_in_video`.

    Args:
        setting: The common one.
        vos_optimized: Upstream's compiled predictor.

    Raises:
        RuntimeError: vos_optimized, and there is no CUDA.
    """

    def __init__(self, setting: Setting, vos_optimized: bool = False) -> None:
        if vos_optimized and setting.device.type != "cuda":
            raise RuntimeError(
                f"upstream compiles vos_optimized for CUDA graphs (mode max-autotune); this run is on {setting.device}"
            )
        self.name = "upstream predictor, vos_optimized" if vos_optimized else "upstream predictor"
        self.about = f"sam2's SAM2VideoPredictor over a folder of JPEG files (quality {JPEG_QUALITY}), written first"
        self._setting = setting
        self._predictor = build_predictor(setting.model, setting.state, setting.device, vos_optimized)

    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        setting = self._setting
        with tempfile.TemporaryDirectory() as folder, as_in_notebooks(setting.precision, setting.device):
            clock = Clock()
            with clock.part("write JPEGs"):
                write_jpegs(footage, Path(folder))
            with clock.part("init_state"):
                state = self._predictor.init_state(folder)
            with clock.part("boxes and propagate"):
                for object_id, box in footage.boxes.items():
                    self._predictor.add_new_points_or_box(state, 0, object_id, box=np.array(box, np.float32))
                for _, ids, logits in self._predictor.propagate_in_video(state):
                    kept = {one: (logits[k] > 0.0).cpu().numpy() for k, one in enumerate(ids)}
                    clock.frame(len(kept) > 0)
            return clock.stop(held_bytes=tensor_bytes(state))


def write_jpegs(footage: Footage, folder: Path) -> None:
    """The frames as 00000.jpg and so on."""
    from PIL import Image

    for seq, image in enumerate(footage.images):
        Image.fromarray(image).save(folder / f"{seq:05d}.jpg", quality=JPEG_QUALITY)


class TransformersStream:
    """`Sam2VideoModel` and its processor, streaming as its documentation shows.

    Args:
        setting: The common one.

    Raises:
        ImportError: transformers is not installed.
        ValueError: The model is the narrow one.
    """

    name = "transformers"
    about = "transformers' Sam2VideoProcessor and Sam2VideoModel with a streaming session, a frame at a time"

    def __init__(self, setting: Setting) -> None:
        from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor

        model = setting.model
        if model.nano:
            raise ValueError("the narrow model is not built in transformers")
        self._dtype = {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16}[setting.precision]
        self._device = setting.device
        self._model = build_transformers_model(model.size, model.image_size, setting.state).to(
            self._device, self._dtype
        )
        side = {"height": model.image_size, "width": model.image_size}
        self._processor: Any = Sam2VideoProcessor(
            image_processor=Sam2ImageProcessor(size=side), video_processor=Sam2VideoVideoProcessor(size=side)
        )

    @torch.inference_mode()
    def run(self, footage: Footage) -> Outcome:
        """As `Way.run`."""
        clock = Clock()
        with tf32():
            session = self._processor.init_video_session(inference_device=self._device, dtype=self._dtype)
            for seq, image in enumerate(footage.images):
                inputs = self._processor(images=image, device=self._device, return_tensors="pt")
                if seq == 0:
                    self._prompt(session, footage, inputs.original_sizes[0])
                frame = inputs.pixel_values[0].to(self._dtype)
                output = self._model(inference_session=session, frame=frame)
                masks = self._processor.post_process_masks(
                    [output.pred_masks], original_sizes=inputs.original_sizes, binarize=True
                )[0]
                clock.frame(masks.cpu().numpy().shape[0] > 0)
        return clock.stop(held_bytes=tensor_bytes(session))

    def _prompt(self, session: Any, footage: Footage, original_size: Any) -> None:
        self._processor.add_inputs_to_inference_session(
            inference_session=session,
            frame_idx=0,
            obj_ids=list(footage.boxes),
            input_boxes=[[list(box) for box in footage.boxes.values()]],
            original_size=original_size,
        )
