"""SAM2's modules from the `sam2` package, built for an image size, with the weights of a checkpoint in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gest_stream.config import Sam2Size
from gest_stream.errors import MissingDependencyError, WeightsError
from gest_stream.models.builtin import builtin_path, read_builtin
from gest_stream.models.checkpoint import read_state
from gest_stream.models.sam2_nano import NANO_NAME, NANO_OVERRIDES, NANO_STAGES, NANO_TRUNK_WIDTH, narrow_decoder

CONFIG_FILES: Mapping[Sam2Size, str] = {
    Sam2Size.TINY: "sam2.1_hiera_t.yaml",
    Sam2Size.SMALL: "sam2.1_hiera_s.yaml",
    Sam2Size.BASE_PLUS: "sam2.1_hiera_b+.yaml",
    Sam2Size.LARGE: "sam2.1_hiera_l.yaml",
    Sam2Size.NANO: "sam2.1_hiera_t.yaml",
}

OVERRIDES: Mapping[Sam2Size, tuple[str, ...]] = {Sam2Size.NANO: NANO_OVERRIDES}
"""What a size changes of its file."""

# What upstream's build_sam2_video_predictor(apply_postprocessing=True) sets, without its hole filling, which needs a
# CUDA extension and which we do on the masks that leave.
_VIDEO_SETTINGS = (
    "model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
    "model.binarize_mask_from_pts_for_mem_enc=true",
)

_WIDTH_AND_DEPTH = {
    (96, 12): "tiny",
    (96, 16): "small",
    (112, 24): "base_plus",
    (144, 48): "large",
    (NANO_TRUNK_WIDTH, sum(NANO_STAGES)): "nano",
}
_STRIDE = 16


def size_overrides(image_size: int) -> tuple[str, ...]:
    """The settings that fit upstream's config to a square picture of `image_size` pixels a side."""
    grid = image_size // _STRIDE
    attention = "model.memory_attention.layer"
    return (
        f"model.image_size={image_size}",
        f"{attention}.self_attention.feat_sizes=[{grid},{grid}]",
        f"{attention}.cross_attention.feat_sizes=[{grid},{grid}]",
    )


def build_modules(size: Sam2Size, image_size: int, overrides: Sequence[str] = ()) -> Any:
    """An untrained `sam2.modeling.sam2_base.SAM2Base` in evaluation mode, on the CPU.

    Args:
        size: Which of the configs to start from.
        image_size: Side of the input in pixels, a multiple of 32.
        overrides: Further settings, "model.path.to.value=…", for models of other shapes; hydra's "++" may precede
            them.

    Raises:
        MissingDependencyError: The package sam2 is not installed.
    """
    try:
        import sam2
        from hydra.utils import instantiate
        from omegaconf import OmegaConf
    except ImportError as exc:
        raise MissingDependencyError(
            "the segmenter sam2 needs the package sam2: install torch first, then "
            "pip install --no-build-isolation 'sam2>=1.1.0'"
        ) from exc
    path = Path(sam2.__file__).parent / "configs" / "sam2.1" / CONFIG_FILES[size]
    changes = OmegaConf.from_dotlist(
        [
            *_VIDEO_SETTINGS,
            *OVERRIDES.get(size, ()),
            *size_overrides(image_size),
            *(one.lstrip("+") for one in overrides),
        ]
    )
    config = OmegaConf.merge(OmegaConf.load(path), changes)
    modules = instantiate(config.model, _recursive_=True).eval().requires_grad_(False)
    if size is Sam2Size.NANO:
        narrow_decoder(modules)
    return modules


def weights_of(size: Sam2Size) -> Path:
    """A size's own weights: those in the package, or the official ones, fetched first where they are absent.

    Raises:
        WeightsError: They can neither be found nor fetched.
    """
    if size.bundled:
        return builtin_path(NANO_NAME)
    from gest_stream.models.registry import sam2_weights_name
    from gest_stream.models.store import ModelStore  # needs pooch, which the engine does without

    return ModelStore().fetch(sam2_weights_name(size))


def load_checkpoint(modules: Any, path: Path, model_name: str) -> None:
    """Put the weights of a checkpoint into `modules`.

    Args:
        modules: From `build_modules`.
        path: A file of torch.save, {"model": state dict} or the state dict itself, of which only tensors are unpickled;
            or .safetensors as the built-in models have.
        model_name: What `modules` is, for messages.

    Raises:
        WeightsError: The file cannot be read, is no checkpoint, or belongs to a model of another shape.
    """
    state = read_builtin(path)[0] if path.suffix == ".safetensors" else read_state(path)
    own = modules.state_dict()
    absent = sorted(own.keys() - state.keys())
    foreign = sorted(state.keys() - own.keys())
    unlike = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    if not (absent or foreign or unlike):
        modules.load_state_dict(state)
        return
    reasons = []
    if unlike:
        name = min(unlike)
        reasons.append(f"{name} is {tuple(state[name].shape)} in the file and {tuple(own[name].shape)} in the model")
    if absent:
        reasons.append(f"{len(absent)} weights are not in the file, for example {absent[0]}")
    if foreign:
        reasons.append(f"{len(foreign)} weights of the file are not in the model, for example {foreign[0]}")
    raise WeightsError(f"{path}: does not fit {model_name}: {'; '.join(reasons)}; {_remedy(state)}")


def _remedy(state: Mapping[str, torch.Tensor]) -> str:
    """Which size the file looks like, from its trunk's width and number of blocks."""
    patches = state.get("image_encoder.trunk.patch_embed.proj.weight")
    if patches is None:
        return "it is not a checkpoint of SAM 2"
    blocks = {name.split(".")[3] for name in state if name.startswith("image_encoder.trunk.blocks.")}
    size = _WIDTH_AND_DEPTH.get((patches.shape[0], len(blocks)))
    if size is None:
        return f"its trunk has width {patches.shape[0]} and {len(blocks)} blocks, which is none of the known sizes"
    if "no_obj_embed_spatial" not in state:
        return f"it looks like SAM 2.0 {size}; use a SAM 2.1 checkpoint"
    return f"it looks like {size}; use --size {size}"
