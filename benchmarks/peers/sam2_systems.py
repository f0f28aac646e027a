"""The systems that the SAM2 benchmark compares: each advances a frame at a time and ends in masks of the frame's size.

Ours is given the frame as it comes from a decoder, (H, W, 3) uint8 in memory, so its time has the upload and the resize
in it. The others are given pictures that lie on the device, resized and normalised, so theirs has neither.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.peers.sam2_transformers import build_transformers_model
from benchmarks.sam2_clip import Clip, Model
from benchmarks.sam2_timing import tensor_bytes
from gest_stream.config import Precision
from gest_stream.models.sam2_engine import Sam2Engine, WarmUp
from gest_stream.models.sam2_frames import FrameUpload
from gest_stream.models.sam2_masks import frame_logits
from gest_stream.models.sam2_weights import CONFIG_FILES, size_overrides

_DTYPES = {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16}


class System(Protocol):
    """One way to follow objects through a clip.

    Args:
        name: What it is called in results.
        precision: What it computes in.
    """

    name: str
    precision: Precision

    def chunk(self) -> contextlib.AbstractContextManager[None]:
        """What its user would hold around a loop over frames."""
        ...

    def advance(self, frame: int) -> torch.Tensor:
        """(N, 1, H, W) float32 mask logits of the next frame; frames come in order, prompts on frame 0."""
        ...

    def state_bytes(self) -> int:
        """Bytes of the tensors that it keeps between frames, without its weights."""
        ...


class Ours:
    """`Sam2Engine`: encode and step.

    Args:
        name: What it is called in results.
        engine: The engine.
        clip: What it is given.
        precision: What it computes in.
        warm: How its warm-up went, where it needs one.
    """

    def __init__(
        self, name: str, engine: Sam2Engine, clip: Clip, precision: Precision, warm: WarmUp | None = None
    ) -> None:
        self.name, self.engine, self.precision, self.warm = name, engine, precision, warm
        self._clip = clip

    def chunk(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to hold."""
        return contextlib.nullcontext()

    def advance(self, frame: int) -> torch.Tensor:
        """As `System.advance`."""
        encoded = self.engine.encode(self._clip.image(frame))
        masks = self.engine.step(encoded, self._clip.prompts() if frame == 0 else None)
        with torch.inference_mode():
            return frame_logits(masks)

    def state_bytes(self) -> int:
        """The bank."""
        return self.engine.state_bytes


class LoopedPictures:
    """What upstream wants as a video's images: (3, S, S) pictures by number, here a few in a loop.

    Args:
        pictures: The distinct ones.
        count: Frames in the clip.
    """

    def __init__(self, pictures: Sequence[torch.Tensor], count: int) -> None:
        self.pictures, self._count = list(pictures), count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, frame: int) -> torch.Tensor:
        return self.pictures[frame % len(self.pictures)]


def pictures_on_device(engine: Sam2Engine, clip: Clip) -> list[torch.Tensor]:
    """The distinct frames as (3, S, S) pictures, made by our upload."""
    upload = FrameUpload(engine.compute, engine.model.image_size)
    with torch.inference_mode():
        return [upload(image)[0] for image in clip.images]


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """TF32 for float32 on CUDA, which upstream's notebooks switch on and our engine, too; elsewhere nothing."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def build_predictor(
    model: Model, state: Mapping[str, torch.Tensor], device: torch.device, vos_optimized: bool = False
) -> Any:
    """A `SAM2VideoPredictor` with these weights.

    Args:
        model: Which model.
        state: Its weights.
        device: Where it computes.
        vos_optimized: Upstream's compiled one.
    """
    from sam2.build_sam import build_sam2_video_predictor

    extra = [f"++{one}" for one in (*size_overrides(model.image_size), *model.overrides)]
    predictor: Any = build_sam2_video_predictor(
        f"configs/sam2.1/{CONFIG_FILES[model.size]}",
        None,
        device=str(device),
        hydra_overrides_extra=extra,
        vos_optimized=vos_optimized,
    )
    predictor.load_state_dict(state)
    predictor.fill_hole_area = 0  # needs upstream's CUDA extension, and our engine does it on masks that leave
    return predictor


@contextlib.contextmanager
def as_in_notebooks(precision: Precision, device: torch.device) -> Iterator[None]:
    """Upstream's surroundings: autocast for bfloat16, TF32 for float32; without its progress bars."""
    import sam2.sam2_video_predictor as predictor
    import sam2.utils.misc as misc

    modules: tuple[Any, ...] = (predictor, misc)
    bars = [module.tqdm for module in modules]
    for module in modules:
        module.tqdm = lambda iterable, **_: iterable
    bfloat16 = precision is Precision.BFLOAT16
    try:
        with warnings.catch_warnings(), tf32(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            warnings.simplefilter("ignore")
            yield
    finally:
        for module, bar in zip(modules, bars, strict=True):
            module.tqdm = bar


class Upstream:
    """`SAM2VideoPredictor.propagate_in_video` over a clip whose prompts are all on frame 0.

    Its state comes from its own `init_state`, which is only kept from reading a file.

    Args:
        model: Which model.
        state: Its weights.
        clip: What it is given.
        pictures: The clip's distinct frames, on the device.
        frames: How long the clip is.
        precision: float32, or bfloat16 by autocast as upstream's notebooks do.
        vos_optimized: Upstream's compiled predictor.
    """

    def __init__(
        self,
        model: Model,
        state: Mapping[str, torch.Tensor],
        clip: Clip,
        pictures: Sequence[torch.Tensor],
        frames: int,
        precision: Precision,
        vos_optimized: bool = False,
    ) -> None:
        self.name = "upstream vos_optimized" if vos_optimized else "upstream"
        self.precision, self._clip, self._device = precision, clip, pictures[0].device
        self._predictor: Any = build_predictor(model, state, self._device, vos_optimized)
        self._state = self._initial_state(LoopedPictures(pictures, frames))
        self._frames: Iterator[tuple[int, list[int], torch.Tensor]] | None = None

    def _initial_state(self, pictures: LoopedPictures) -> dict[str, Any]:
        import sam2.sam2_video_predictor as module

        upstream: Any = module
        width, height = self._clip.frame_size
        loader, upstream.load_video_frames = upstream.load_video_frames, lambda **_: (pictures, height, width)
        try:
            with self.chunk():
                state: dict[str, Any] = self._predictor.init_state("")
        finally:
            upstream.load_video_frames = loader
        return state

    def chunk(self) -> contextlib.AbstractContextManager[None]:
        """As upstream's notebooks run it."""
        return as_in_notebooks(self.precision, self._device)

    def advance(self, frame: int) -> torch.Tensor:
        """As `System.advance`."""
        if self._frames is None:
            for object_id, box in self._clip.boxes.items():
                self._predictor.add_new_points_or_box(self._state, 0, object_id, box=np.array(box, np.float32))
            self._frames = self._predictor.propagate_in_video(self._state)
        assert self._frames is not None
        number, _, logits = next(self._frames)
        assert number == frame, f"upstream is at frame {number}, not {frame}"
        return logits

    def state_bytes(self) -> int:
        """Of the tensors that its state holds, without the clip's pictures, which are ours and looped."""
        return tensor_bytes({name: value for name, value in self._state.items() if name != "images"})


class Transformers:
    """`Sam2VideoModel` with an inference session that is given one frame after another.

    Args:
        model: Which model; official sizes only.
        state: Its weights, under the names of the `sam2` package.
        clip: What it is given.
        pictures: The clip's distinct frames, on the device.
        precision: What model and session are cast to.

    Raises:
        ImportError: transformers is not installed.
        ValueError: The model is the narrow one.
    """

    def __init__(
        self,
        model: Model,
        state: Mapping[str, torch.Tensor],
        clip: Clip,
        pictures: Sequence[torch.Tensor],
        precision: Precision,
    ) -> None:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        if model.nano:
            raise ValueError("the narrow model is not built in transformers")
        self.name, self.precision = "transformers", precision
        device, dtype = pictures[0].device, _DTYPES[precision]
        self._model = build_transformers_model(model.size, model.image_size, state).to(device, dtype)
        self._clip, self._image_size = clip, model.image_size
        self._pictures = [picture.to(dtype) for picture in pictures]
        self._session = Sam2VideoInferenceSession(
            video=None,
            video_height=clip.frame_size[1],
            video_width=clip.frame_size[0],
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=dtype,
        )

    def chunk(self) -> contextlib.AbstractContextManager[None]:
        """TF32 as the others."""
        return tf32()

    def advance(self, frame: int) -> torch.Tensor:
        """As `System.advance`; masks are enlarged as its processor's post_process_masks does."""
        if frame == 0:
            self._prompt()
        with torch.inference_mode():
            output = self._model(inference_session=self._session, frame=self._pictures[frame % len(self._pictures)])
            width, height = self._clip.frame_size
            return F.interpolate(output.pred_masks.float(), size=(height, width), mode="bilinear", align_corners=False)

    def _prompt(self) -> None:
        """What Sam2VideoProcessor.process_new_points_or_boxes_for_video_frame does, without needing torchvision."""
        scale = torch.tensor(self._image_size) / torch.tensor(self._clip.frame_size)
        for object_id, box in self._clip.boxes.items():
            corners = (torch.tensor(box).reshape(2, 2) * scale).reshape(1, 1, 2, 2)
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
            index = self._session.obj_id_to_idx(object_id)
            self._session.add_point_inputs(index, 0, {"point_coords": corners, "point_labels": labels})
        self._session.obj_with_new_inputs = list(self._clip.boxes)

    def state_bytes(self) -> int:
        """Of the session, without the pictures where it holds ours."""
        whole = tensor_bytes(self._session)
        return whole - tensor_bytes([p for p in self._pictures if self._holds(p)])

    def _holds(self, picture: torch.Tensor) -> bool:
        frames = self._session.processed_frames or {}
        return any(
            held.untyped_storage().data_ptr() == picture.untyped_storage().data_ptr() for held in frames.values()
        )
