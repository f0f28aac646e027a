"""Every weight file the product can use: its official home, and what it must look like before it is opened."""

from __future__ import annotations

from dataclasses import dataclass

from gest_stream.config import nearest_name
from gest_stream.errors import ConfigError

HAND_LANDMARKER = "hand_landmarker.task"
GEST_DETECTRON = "dinov2_hand_trained_segmentation.pth"

_SAM2 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
_SAM2_NAMES = {size: f"sam2.1_hiera_{size}.pt" for size in ("tiny", "small", "base_plus", "large")}
_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2"
_GEST_DETECTRON_HOME = (
    "https://media.githubusercontent.com/media/therealnaveenkamal/gest_detectron/dino_pipeline/models"
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a whole file must be: its SHA-256 in lower-case hex and, where known, its size in bytes."""

    sha256: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BundleMember:
    """One model inside a wheel and the name it gets in the bundle.

    Args:
        wheel_path: Path inside the wheel.
        name: Name inside the bundle.
        sha256: Of the member, lower-case hex.
    """

    wheel_path: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class WheelBundle:
    """A MediaPipe `.task` bundle that can be put together from a wheel on the package index.

    Args:
        requirement: The wheel, pinned, as pip is told.
        members: What is taken out of it, in the bundle's order.
        fingerprint: Of the bundle; assembling gives the same bytes everywhere.
    """

    requirement: str
    members: tuple[BundleMember, ...]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One weight file.

    Args:
        name: File name in the cache folder.
        purpose: What it is for, in a few words.
        url: Its official home.
        official: What the file at `url` is.
        bundle: Where the same weights can be had when `url` cannot be reached; None where they cannot.
        short_name: What a person types instead of `name`; empty where there is nothing shorter.
    """

    name: str
    purpose: str
    url: str
    official: Fingerprint
    bundle: WheelBundle | None = None
    short_name: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it is found by, the one to type first."""
        return (self.short_name, self.name) if self.short_name else (self.name,)

    @property
    def accepted(self) -> tuple[Fingerprint, ...]:
        """Every fingerprint that is this model."""
        return (self.official,) if self.bundle is None else (self.official, self.bundle.fingerprint)


# The last wheel that ships the two models; MediaPipe 1.x ships none. The same weights as the official bundle's.
_HAND_BUNDLE = WheelBundle(
    requirement="mediapipe==0.10.21",
    members=(
        BundleMember(
            "mediapipe/modules/palm_detection/palm_detection_full.tflite",
            "hand_detector.tflite",
            "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        ),
        BundleMember(
            "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
            "hand_landmarks_detector.tflite",
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        ),
    ),
    fingerprint=Fingerprint("42adaab81adf49d6ddd74810fadb19a2641f54871df5426b58bd046415a7d792", 7819061),
)

MODEL_FILES: tuple[ModelFile, ...] = (
    ModelFile(
        HAND_LANDMARKER,
        "hand landmarks (MediaPipe)",
        "https://storage.googleapis.com/mediapipe-models/hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task",
        Fingerprint("fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1", 7819105),
        _HAND_BUNDLE,
        short_name="hand_landmarker",
    ),
    ModelFile(
        "sam2.1_hiera_tiny.pt",
        "masks (SAM 2.1 tiny)",
        f"{_SAM2}/sam2.1_hiera_tiny.pt",
        Fingerprint("7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69", 156008466),
        short_name="sam2.1-tiny",
    ),
    ModelFile(
        "sam2.1_hiera_small.pt",
        "masks (SAM 2.1 small)",
        f"{_SAM2}/sam2.1_hiera_small.pt",
        Fingerprint("6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38", 184416285),
        short_name="sam2.1-small",
    ),
    ModelFile(
        "sam2.1_hiera_base_plus.pt",
        "masks (SAM 2.1 base plus)",
        f"{_SAM2}/sam2.1_hiera_base_plus.pt",
        Fingerprint("a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5", 323606802),
        short_name="sam2.1-base_plus",
    ),
    ModelFile(
        "sam2.1_hiera_large.pt",
        "masks (SAM 2.1 large)",
        f"{_SAM2}/sam2.1_hiera_large.pt",
        Fingerprint("2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318", 898083611),
        short_name="sam2.1-large",
    ),
    ModelFile(
        "dinov2_vits14_pretrain.pth",
        "finding lost hands (DINOv2 ViT-S/14)",
        f"{_DINOV2}/dinov2_vits14/dinov2_vits14_pretrain.pth",
        Fingerprint("b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", 88283115),
        short_name="dinov2-vits14",
    ),
    ModelFile(
        GEST_DETECTRON,
        "finding lost hands (gest_detectron's DINOv2 ViT-B/14 and decoder)",
        f"{_GEST_DETECTRON_HOME}/{GEST_DETECTRON}",
        Fingerprint("9cf4eaa5c0d6ba7e64f07c11d36c26788e0aa046ae42e0d8f88be4ced02a2f69", 355024053),
        short_name="gest-detectron",
    ),
)


def find_model_file(name: str, files: tuple[ModelFile, ...] = MODEL_FILES) -> ModelFile:
    """The file of that name.

    Args:
        name: A file name or a short name; upper and lower case are alike, and so are "-" and "_".
        files: Where it is looked for.

    Raises:
        ConfigError: There is none; the message suggests the nearest name.
    """
    for file in files:
        if _folded(name) in map(_folded, file.names):
            return file
    known = [one for file in files for one in file.names]
    raise ConfigError(f"model file {name!r}: unknown{nearest_name(name, known)}")


def sam2_weights_name(size: str) -> str:
    """The weight file of an official SAM 2.1 model.

    Args:
        size: "tiny", "small", "base_plus" or "large" (a `config.Sam2Size` is one of them).

    Returns:
        A name that `ModelStore` knows.

    Raises:
        ConfigError: There is no such size.
    """
    name = _SAM2_NAMES.get(size)
    if name is None:
        raise ConfigError(f"SAM 2.1 size {size!r}: unknown{nearest_name(size, list(_SAM2_NAMES))}")
    return name


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")
