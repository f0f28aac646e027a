"""How a host wants its frames shown: its own settings over those of the worker's command line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.config.check import require, take_members
from gest_stream.exchange.messages import Effect, SettingKey

if TYPE_CHECKING:
    from gest_stream.exchange.peer import Wishes


class HandChoice(StrEnum):
    """Which hands are shown."""

    BOTH = "both"
    """Also those of which it is not known."""
    LEFT = "left"
    RIGHT = "right"


class Matrix(StrEnum):
    """What Y, U and V mean."""

    AUTO = "auto"
    """BT.601 below 720 lines, BT.709 from 720 lines on."""
    BT601 = "bt601"
    BT709 = "bt709"


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """How frames are shown.

    Args:
        effect: How results are drawn; of a mask, `feather_px` alone counts.
        echo: Give frames back as they are, without a look at them (a mask is all 0).
        hands: Which hands are shown.
        smoothing: Part of each mask that is carried over from the frame before, 0 to 0.95.
        mask_every: The tracker runs on every n-th frame, 1 to 60; between, hands stay where they were.
        matrix: Of I420 and NV12.
        full_range: Whether their Y goes from 0 to 255 instead of 16 to 235.

    Raises:
        ConfigError: A value is out of its range.
    """

    effect: EffectConfig = field(default_factory=EffectConfig)
    echo: bool = False
    hands: HandChoice = HandChoice.BOTH
    smoothing: float = 0.0
    mask_every: int = 1
    matrix: Matrix = Matrix.AUTO
    full_range: bool = False

    def __post_init__(self) -> None:
        take_members(self, hands=HandChoice, matrix=Matrix)
        require(0.0 <= self.smoothing <= 0.95, "smoothing", "0 to 0.95", self.smoothing)
        require(1 <= self.mask_every <= 60, "mask_every", "1 to 60", self.mask_every)


_KINDS: Final = {
    Effect.OVERLAY: EffectKind.OVERLAY,
    Effect.CONTOUR: EffectKind.CONTOUR,
    Effect.GREEN: EffectKind.GREEN,
    Effect.BLUR: EffectKind.BLUR,
    Effect.REPLACE: EffectKind.REPLACE,
    Effect.TRANSPARENT: EffectKind.TRANSPARENT,
}
_HANDS: Final = (HandChoice.BOTH, HandChoice.LEFT, HandChoice.RIGHT)
_MATRICES: Final = (Matrix.AUTO, Matrix.BT601, Matrix.BT709)


def view_of(wishes: Wishes, defaults: ViewConfig) -> ViewConfig:
    """What a host has set, over the worker's defaults."""
    given = wishes.settings.values

    def value(key: SettingKey, default: float) -> float:
        return given.get(key, default)

    shown = defaults.effect
    wanted = Effect(int(value(SettingKey.EFFECT, Effect.DEFAULT)))
    effect = EffectConfig(
        kind=_KINDS.get(wanted, shown.kind),
        opacity=value(SettingKey.OPACITY, shown.opacity),
        feather_px=round(value(SettingKey.FEATHER_PX, shown.feather_px)),
        blur_px=value(SettingKey.BLUR_PX, shown.blur_px),
        background=Path(wishes.background) if wishes.background else shown.background,
        landmarks=bool(value(SettingKey.LANDMARKS, shown.landmarks)),
        labels=bool(value(SettingKey.LABELS, shown.labels)),
    )
    echo = defaults.echo if wanted is Effect.DEFAULT else wanted is Effect.ECHO
    hands = _HANDS[int(given[SettingKey.HANDS])] if SettingKey.HANDS in given else defaults.hands
    matrix = _MATRICES[int(given[SettingKey.MATRIX])] if SettingKey.MATRIX in given else defaults.matrix
    return replace(
        defaults,
        effect=effect,
        echo=echo,
        hands=hands,
        smoothing=value(SettingKey.SMOOTHING, defaults.smoothing),
        mask_every=int(value(SettingKey.MASK_EVERY, defaults.mask_every)),
        matrix=matrix,
        full_range=bool(value(SettingKey.FULL_RANGE, defaults.full_range)),
    )
