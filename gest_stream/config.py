"""Frozen settings, one dataclass a component; TOML is read at the edge, here, and nowhere else."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from gest_stream.errors import ConfigError

_STRICT: Mapping[str, Any] = {"extra": "forbid"}


def _require(ok: bool, name: str, expected: str, value: object) -> None:
    if not ok:
        raise ConfigError(f"{name}: expected {expected}, got {value!r}")


@dataclass(frozen=True, slots=True)
class HandsConfig:
    """The landmark detector.

    Args:
        max_hands: Hands looked for on a frame, 1 to 8.
        min_detection_confidence: Palm detector's threshold, 0 to 1.
        min_presence_confidence: Below this a followed hand is looked for anew, 0 to 1.
        min_tracking_confidence: Overlap below which a followed hand is looked for anew, 0 to 1.
        model_path: A hand_landmarker.task file to use instead of the official one.
        mirrored: True where the picture is mirrored (a selfie view): left and right are swapped back.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    max_hands: int = 2
    min_detection_confidence: float = 0.5
    min_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5
    model_path: Path | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        _require(1 <= self.max_hands <= 8, "hands.max_hands", "1 to 8", self.max_hands)
        for name in ("min_detection_confidence", "min_presence_confidence", "min_tracking_confidence"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, f"hands.{name}", "0 to 1", value)


@dataclass(frozen=True, slots=True)
class LightConfig:
    """The `light` segmenter.

    Args:
        working_px: Longer side of the grid a hand is looked at on; time grows with its square.
        colour_keep: Share of the earlier frames in what is known of a hand's colours, 0 to below 1.
        carry_decay: Factor on the score of a mask for each frame without landmarks, above 0 to 1.
        min_score: Score below which a mask without landmarks is dropped, 0 to 1.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    working_px: int = 144
    colour_keep: float = 0.6
    carry_decay: float = 0.95
    min_score: float = 0.3

    def __post_init__(self) -> None:
        _require(32 <= self.working_px <= 512, "light.working_px", "32 to 512", self.working_px)
        _require(0.0 <= self.colour_keep < 1.0, "light.colour_keep", "0 to below 1", self.colour_keep)
        _require(0.0 < self.carry_decay <= 1.0, "light.carry_decay", "above 0, up to 1", self.carry_decay)
        _require(0.0 <= self.min_score <= 1.0, "light.min_score", "0 to 1", self.min_score)


@dataclass(frozen=True, slots=True)
class AssociationConfig:
    """Which detection belongs to which track. Distances are in palm widths, so that they hold near and far.

    Args:
        gate_hands: Mean landmark distance from the predicted hand beyond which a detection is not the same hand.
        gate_growth_hands: Added to the gate for every frame a hand has been missing.
        max_gate_hands: What the gate grows to at most.
        velocity_gain: Weight of the newest velocity in the smoothed one, above 0, up to 1.
        velocity_damping: Share of its velocity that a missing hand keeps from frame to frame, 0 to 1.
        handedness_hands: Distance that a surely contradicting handedness counts as: decides between hands on top of
            each other, not between hands further apart than this.
        sure_handedness: Detector's confidence from which a handedness may bar or restore a hand's id, 0 to 1.
        relocate_after_frames: Missing frames after which the only missing hand of a handedness is recognised wherever
            it turns up.
        duplicate_hands: Mean landmark distance below which two detections are one hand.
        clearance_hands: Distance of palm centres below which a detection beside a known hand opens no track.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    gate_hands: float = 1.5
    gate_growth_hands: float = 0.25
    max_gate_hands: float = 4.0
    velocity_gain: float = 0.5
    velocity_damping: float = 0.9
    handedness_hands: float = 0.3
    sure_handedness: float = 0.7
    relocate_after_frames: int = 2
    duplicate_hands: float = 0.25
    clearance_hands: float = 0.5

    def __post_init__(self) -> None:
        for name in ("gate_growth_hands", "handedness_hands", "duplicate_hands", "clearance_hands"):
            _require(getattr(self, name) >= 0.0, f"association.{name}", "0 or more", getattr(self, name))
        for name in ("velocity_damping", "sure_handedness"):
            _require(0.0 <= getattr(self, name) <= 1.0, f"association.{name}", "0 to 1", getattr(self, name))
        _require(self.gate_hands > 0.0, "association.gate_hands", "above 0", self.gate_hands)
        _require(
            self.max_gate_hands >= self.gate_hands,
            "association.max_gate_hands",
            f"at least gate_hands ({self.gate_hands})",
            self.max_gate_hands,
        )
        _require(0.0 < self.velocity_gain <= 1.0, "association.velocity_gain", "above 0, up to 1", self.velocity_gain)
        _require(
            self.relocate_after_frames >= 1,
            "association.relocate_after_frames",
            "1 or more",
            self.relocate_after_frames,
        )


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The loss machine: TENTATIVE -> TRACKED -> LOST -> removed.

    Args:
        confirm_after_frames: Frames with landmarks after which a new track is trusted.
        drop_tentative_after_frames: Consecutive frames without landmarks after which a track that was never trusted
            is removed.
        lost_after_frames: Consecutive frames without landmarks after which a track is lost.
        lost_after_frames_unmasked: The same where the segmenter has no mask to trust either.
        remove_after_frames: Consecutive frames without landmarks after which a track is removed and its id retired.
        min_mask_score: Segmenter's confidence from which the mask of a hand without landmarks is kept, 0 to 1.
        min_mask_area_ratio: Smallest mask area that is kept without landmarks, relative to the last one with them.
        max_mask_area_ratio: Largest such area.
        min_agreement: Agreement of landmarks and mask below which they disagree, 0 to 1.
        reprompt_after_frames: Consecutive frames of disagreement after which the segmenter is prompted again.
        reprompt_interval_frames: Frames from one prompt to the next one that a disagreement may cause.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    confirm_after_frames: int = 3
    drop_tentative_after_frames: int = 1
    lost_after_frames: int = 5
    lost_after_frames_unmasked: int = 3
    remove_after_frames: int = 60
    min_mask_score: float = 0.5
    min_mask_area_ratio: float = 0.2
    max_mask_area_ratio: float = 3.0
    min_agreement: float = 0.5
    reprompt_after_frames: int = 5
    reprompt_interval_frames: int = 15

    def __post_init__(self) -> None:
        for name in (
            "confirm_after_frames",
            "drop_tentative_after_frames",
            "lost_after_frames",
            "lost_after_frames_unmasked",
            "reprompt_after_frames",
            "reprompt_interval_frames",
        ):
            _require(getattr(self, name) >= 1, f"loss.{name}", "1 or more", getattr(self, name))
        for name in ("min_mask_score", "min_agreement"):
            _require(0.0 <= getattr(self, name) <= 1.0, f"loss.{name}", "0 to 1", getattr(self, name))
        _require(
            self.remove_after_frames >= self.lost_after_frames,
            "loss.remove_after_frames",
            f"at least lost_after_frames ({self.lost_after_frames})",
            self.remove_after_frames,
        )
        _require(
            0.0 <= self.min_mask_area_ratio < self.max_mask_area_ratio,
            "loss.min_mask_area_ratio",
            f"0 or more and below max_mask_area_ratio ({self.max_mask_area_ratio})",
            self.min_mask_area_ratio,
        )


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """What a segmenter is told of a hand besides the points on it.

    Args:
        forearm_points: Points on the forearm that are not the hand, where the landmarks tell its direction.
        other_hand_points: Points on the other hands that are not this one.
        box: The box around the hand. It is given all the same where no point on the hand lies inside the frame.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    forearm_points: bool = True
    other_hand_points: bool = True
    box: bool = True


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Association, loss and prompts.

    Args:
        max_tracks: Hands followed at once, the lost ones among them; a new hand beyond that takes the place of the
            one lost longest, or is not followed.
        association: Which detection belongs to which track.
        loss: When a hand is trusted, lost and given up.
        prompts: What the segmenter is told where it starts anew.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    max_tracks: int = 8
    association: AssociationConfig = field(default_factory=AssociationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)

    def __post_init__(self) -> None:
        _require(1 <= self.max_tracks <= 64, "tracker.max_tracks", "1 to 64", self.max_tracks)


class Sam2Size(StrEnum):
    """The official SAM 2.1 models, smallest first."""

    TINY = "tiny"
    SMALL = "small"
    BASE_PLUS = "base_plus"
    LARGE = "large"


class Precision(StrEnum):
    """What a model computes in."""

    AUTO = "auto"
    """bfloat16 where the device has it and is faster with it, else float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Sam2Runner(StrEnum):
    """How the objects of a frame are computed. All give the same masks, to rounding."""

    AUTO = "auto"
    """`graph` on CUDA, `batched` elsewhere."""
    EXACT = "exact"
    """One object at a time through upstream's own memory attention: bit for bit what upstream computes."""
    BATCHED = "batched"
    """All objects in one pass, as large as the fullest memory needs."""
    FIXED = "fixed"
    """All objects in one pass of fixed shapes, unused places masked; what a graph is captured from."""
    GRAPH = "graph"
    """`fixed`, captured as CUDA graphs; runs uncaptured where capturing fails."""


class ConditioningKeep(StrEnum):
    """Which prompted frames stay in memory when there are more than it holds."""

    RECENT = "recent"
    """The newest, as upstream's `max_cond_frames_in_attn`."""
    ANCHOR = "anchor"
    """The first and the newest: the first prompt is a safeguard against drift."""


class MemoryPolicy(StrEnum):
    """Which tracked frames are remembered."""

    EVERY = "every"
    """Every frame, as upstream."""
    CONFIDENT = "confident"
    """Only frames whose mask is likely to be right."""


@dataclass(frozen=True, slots=True)
class Sam2Config:
    """The `sam2` segmenter.

    Args:
        size: Which of the official models.
        checkpoint: Weights to use instead of the official ones, for example fine-tuned ones of the same size.
        image_size: Side of the square that a frame is resized to, a multiple of 32; time grows faster than its square.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: What it computes in.
        runner: How the objects of a frame are computed.
        compile: Compile the encoder and the fixed step with torch.compile; takes minutes to warm up.
        threads: CPU threads that torch uses; 0 leaves that to torch.
        conditioning_frames: Prompted frames remembered for each object. Upstream remembers all of them for ever.
        keep: Which of them stay.
        memory: Which tracked frames are remembered.
        min_memory_iou: Predicted IoU from which a frame is remembered, 0 to 1; only where `memory` is `confident`.
        non_overlap: No pixel belongs to two hands, neither in the masks nor in what is remembered of them. Upstream
            leaves masks overlapping.
        max_hole_share: Holes of up to this share of a hand's area are filled; 0 fills none.
        wrist_cut: Cut off what lies beyond the wrist, where landmarks show it.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    size: Sam2Size = Sam2Size.TINY
    checkpoint: Path | None = None
    image_size: int = 1024
    device: str = "auto"
    precision: Precision = Precision.AUTO
    runner: Sam2Runner = Sam2Runner.AUTO
    compile: bool = False
    threads: int = 0
    conditioning_frames: int = 4
    keep: ConditioningKeep = ConditioningKeep.RECENT
    memory: MemoryPolicy = MemoryPolicy.EVERY
    min_memory_iou: float = 0.5
    non_overlap: bool = True
    max_hole_share: float = 0.02
    wrist_cut: bool = True

    def __post_init__(self) -> None:
        sound = 64 <= self.image_size <= 2048 and self.image_size % 32 == 0
        _require(sound, "sam2.image_size", "a multiple of 32 from 64 to 2048", self.image_size)
        kind, _, index = self.device.partition(":")
        known = kind in ("auto", "cpu", "cuda", "mps") and (not index or (kind == "cuda" and index.isdigit()))
        _require(known, "sam2.device", "auto, cpu, cuda, cuda:N or mps", self.device)
        _require(0 <= self.threads <= 1024, "sam2.threads", "0 to 1024", self.threads)
        _require(1 <= self.conditioning_frames <= 32, "sam2.conditioning_frames", "1 to 32", self.conditioning_frames)
        _require(
            self.keep is ConditioningKeep.RECENT or self.conditioning_frames >= 2,
            "sam2.conditioning_frames",
            "2 or more where keep is 'anchor'",
            self.conditioning_frames,
        )
        _require(0.0 <= self.min_memory_iou <= 1.0, "sam2.min_memory_iou", "0 to 1", self.min_memory_iou)
        _require(0.0 <= self.max_hole_share <= 1.0, "sam2.max_hole_share", "0 to 1", self.max_hole_share)


class SegmenterKind(StrEnum):
    """Which segmenter makes the masks."""

    AUTO = "auto"
    """The best that this machine can run."""
    SAM2 = "sam2"
    """SAM 2.1 on its own streaming memory; made for CUDA."""
    LIGHT = "light"
    """Classical, no weights, CPU."""
    NONE = "none"
    """Landmarks only."""


class BufferPolicy(StrEnum):
    """What happens to frames that come faster than they are processed."""

    AUTO = "auto"
    """`live` for live sources, `lossless` for files."""
    LIVE = "live"
    """The newest frames win, the others are dropped and counted."""
    LOSSLESS = "lossless"
    """Every frame is processed; the source waits."""


@dataclass(frozen=True, slots=True)
class BufferConfig:
    """The rings between the stages.

    Args:
        policy: What happens to frames that come too fast.
        depth: Frames held between source and tracker; 0 picks 1 for live and 4 for lossless.
        sink_depth: Results held for each sink.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    policy: BufferPolicy = BufferPolicy.AUTO
    depth: int = 0
    sink_depth: int = 4

    def __post_init__(self) -> None:
        _require(0 <= self.depth <= 256, "buffer.depth", "0 to 256", self.depth)
        _require(1 <= self.sink_depth <= 256, "buffer.sink_depth", "1 to 256", self.sink_depth)


class EffectKind(StrEnum):
    """What a segmented picture shows."""

    OVERLAY = "overlay"
    CONTOUR = "contour"
    GREEN = "green"
    TRANSPARENT = "transparent"
    BLUR = "blur"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class EffectConfig:
    """How a segmented picture is drawn.

    Args:
        kind: The effect.
        opacity: Of the overlay's colour, 0 to 1.
        feather_px: Width of the soft edge between hand and background, pixels.
        blur_px: Strength (sigma) of the background blur, pixels at 720 lines; scaled with the picture.
        background: Picture file for `replace`.
        landmarks: Draw the landmarks over the effect too.
        labels: Write id and handedness beside each hand (overlay and contour).
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    kind: EffectKind = EffectKind.OVERLAY
    opacity: float = 0.45
    feather_px: int = 2
    blur_px: float = 12.0
    background: Path | None = None
    landmarks: bool = False
    labels: bool = True

    def __post_init__(self) -> None:
        _require(0.0 <= self.opacity <= 1.0, "effect.opacity", "0 to 1", self.opacity)
        _require(0 <= self.feather_px <= 64, "effect.feather_px", "0 to 64", self.feather_px)
        _require(0.0 < self.blur_px <= 200.0, "effect.blur_px", "above 0, up to 200", self.blur_px)
        _require(
            self.kind is not EffectKind.REPLACE or self.background is not None,
            "effect.background",
            "a picture file for the effect 'replace'",
            self.background,
        )


@dataclass(frozen=True, slots=True)
class ReconnectConfig:
    """How a lost live source is brought back: attempts with exponentially growing pauses.

    Args:
        initial_s: Pause before the first attempt, seconds.
        max_s: Longest pause, seconds.
        jitter: Each pause is stretched or shortened by up to this fraction at random, 0 to 0.9.
        give_up_after_s: Seconds without a frame after which the source is given up; 0 gives up at once.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    initial_s: float = 0.5
    max_s: float = 10.0
    jitter: float = 0.25
    give_up_after_s: float = 60.0

    def __post_init__(self) -> None:
        _require(self.initial_s > 0, "source.reconnect.initial_s", "above 0", self.initial_s)
        expected = f"at least initial_s ({self.initial_s})"
        _require(self.max_s >= self.initial_s, "source.reconnect.max_s", expected, self.max_s)
        _require(0.0 <= self.jitter <= 0.9, "source.reconnect.jitter", "0 to 0.9", self.jitter)
        _require(self.give_up_after_s >= 0, "source.reconnect.give_up_after_s", "0 or more", self.give_up_after_s)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Time limits of cameras and network sources.

    Args:
        open_timeout_s: Seconds that connecting may take.
        read_timeout_s: Seconds without data (network) or frames (camera) after which the source counts as lost.
        rtsp_tcp: Carry RTSP over TCP; UDP loses packets without a word.
        reconnect: What happens then.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    rtsp_tcp: bool = True
    reconnect: ReconnectConfig = field(default_factory=ReconnectConfig)

    def __post_init__(self) -> None:
        _require(0 < self.open_timeout_s <= 300, "source.open_timeout_s", "above 0, up to 300", self.open_timeout_s)
        _require(0 < self.read_timeout_s <= 300, "source.read_timeout_s", "above 0, up to 300", self.read_timeout_s)


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Everything a run can be told, composed of one config a component."""

    __pydantic_config__: ClassVar[Any] = _STRICT
    source: SourceConfig = field(default_factory=SourceConfig)
    hands: HandsConfig = field(default_factory=HandsConfig)
    segmenter: SegmenterKind = SegmenterKind.AUTO
    light: LightConfig = field(default_factory=LightConfig)
    sam2: Sam2Config = field(default_factory=Sam2Config)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    effect: EffectConfig = field(default_factory=EffectConfig)


def nearest_name(name: str, known: list[str]) -> str:
    """The remedy for an unknown name: "; did you mean 'x'?" or "; known are …"."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _known_at(path: tuple[str, ...]) -> list[str]:
    kind: Any = PipelineConfig
    for part in path:
        kind = get_type_hints(kind)[part]
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []


def config_from_mapping(values: Mapping[str, Any], origin: str) -> PipelineConfig:
    """Build a `PipelineConfig` from nested plain values.

    Args:
        values: As read from TOML; missing keys keep their defaults.
        origin: Named in error messages, usually the file.

    Raises:
        ConfigError: A key is unknown (the nearest name is suggested) or a value does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(PipelineConfig).validate_python(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        path = tuple(str(part) for part in first["loc"])
        where = f"{origin}: {'.'.join(path)}"
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise ConfigError(f"{where}: unknown setting{nearest_name(path[-1], _known_at(path[:-1]))}") from exc
        if first["type"] == "value_error":
            raise ConfigError(f"{origin}: {first['ctx']['error']}") from exc
        raise ConfigError(f"{where}: {first['msg']}, got {first['input']!r}") from exc


def load_toml(path: Path) -> dict[str, Any]:
    """The plain values of a TOML file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read as a settings file: {why}; check the path") from exc
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def load_config(path: Path) -> PipelineConfig:
    """Read a `PipelineConfig` from a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or a setting is unknown or does not fit.
    """
    return config_from_mapping(load_toml(path), str(path))
