"""A host's settings over the worker's."""

from pathlib import Path

import pytest

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError
from gest_stream.exchange.messages import Effect, SettingKey, Settings
from gest_stream.exchange.peer import Wishes
from gest_stream.worker import HandChoice, Matrix, ViewConfig
from gest_stream.worker.view import view_of

DEFAULTS = ViewConfig(
    EffectConfig(EffectKind.BLUR, 0.25, 5, 20.0, Path("/own.png"), True, False),
    hands=HandChoice.LEFT,
    smoothing=0.5,
    mask_every=2,
    matrix=Matrix.BT709,
    full_range=True,
)


def wishes(values: dict[SettingKey, float], background: str = "") -> Wishes:
    return Wishes(Settings(values), background)


def test_a_host_that_sets_nothing_gets_the_workers_own() -> None:
    assert view_of(Wishes(), DEFAULTS) == DEFAULTS
    assert view_of(Wishes(), ViewConfig(echo=True)).echo


def test_every_setting_overrides_the_workers_own() -> None:
    view = view_of(
        wishes(
            {
                SettingKey.EFFECT: Effect.REPLACE,
                SettingKey.HANDS: 2,
                SettingKey.FEATHER_PX: 7.6,
                SettingKey.SMOOTHING: 0.0,
                SettingKey.MASK_EVERY: 4,
                SettingKey.BLUR_PX: 3.5,
                SettingKey.OPACITY: 1.0,
                SettingKey.LANDMARKS: 0,
                SettingKey.LABELS: 1,
                SettingKey.MATRIX: 1,
                SettingKey.FULL_RANGE: 0,
            },
            "/theirs.png",
        ),
        DEFAULTS,
    )
    effect = EffectConfig(EffectKind.REPLACE, 1.0, 8, 3.5, Path("/theirs.png"), False, True)
    assert view == ViewConfig(effect, False, HandChoice.RIGHT, 0.0, 4, Matrix.BT601, False)


@pytest.mark.parametrize("effect", [e for e in Effect if e not in (Effect.DEFAULT, Effect.ECHO)])
def test_effects_have_the_names_of_the_renderers(effect: Effect) -> None:
    view = view_of(wishes({SettingKey.EFFECT: effect}), ViewConfig(echo=True))
    assert str(view.effect.kind) == effect.name.lower()
    assert not view.echo


def test_echo_can_be_asked_for_and_the_default_is_the_workers() -> None:
    assert view_of(wishes({SettingKey.EFFECT: Effect.ECHO}), DEFAULTS).echo
    assert view_of(wishes({SettingKey.EFFECT: Effect.DEFAULT}), ViewConfig(echo=True)).echo
    assert view_of(wishes({SettingKey.EFFECT: Effect.DEFAULT}), DEFAULTS) == DEFAULTS


@pytest.mark.parametrize("bad", [{"smoothing": 0.96}, {"mask_every": 0}, {"hands": "middle"}])
def test_a_default_out_of_range_is_told(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ViewConfig(**bad)  # type: ignore[arg-type]
