"""Settings check themselves; TOML mistakes are named with the remedy."""

from pathlib import Path

import pytest

from gest_stream.config import (
    BufferConfig,
    BufferPolicy,
    EffectConfig,
    EffectKind,
    HandsConfig,
    LossConfig,
    PipelineConfig,
    config_from_mapping,
    load_config,
)
from gest_stream.errors import ConfigError


def test_toml_overrides_defaults_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "hands.toml"
    path.write_text('segmenter = "light"\n[tracker.loss]\nlost_after_frames = 9\n[buffer]\npolicy = "live"\n')
    config = load_config(path)
    assert config.segmenter == "light"
    assert config.tracker.loss == LossConfig(lost_after_frames=9)
    assert config.buffer == BufferConfig(policy=BufferPolicy.LIVE)
    assert config.effect == PipelineConfig().effect


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trakcer = 1", r"x\.toml: trakcer: unknown setting; did you mean 'tracker'\?"),
        (
            "[tracker.loss]\nlost_after_frame = 3",
            r"tracker\.loss\.lost_after_frame: .*did you mean 'lost_after_frames'",
        ),
        ('[tracker.loss]\nlost_after_frames = "many"', r"tracker\.loss\.lost_after_frames: .*integer.*got 'many'"),
        ('[effect]\nkind = "gren"', r"effect\.kind: .*'green'.*got 'gren'"),
        ('[effect]\nkind = "replace"', r"x\.toml: effect\.background: expected a picture file"),
        ("[hands]\nmax_hands = 99", r"hands\.max_hands: expected 1 to 8, got 99"),
        ("hands = [", r"x\.toml: not valid TOML"),
    ],
)
def test_toml_mistakes_name_file_key_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read as a settings file"):
        load_config(tmp_path / "absent.toml")


def test_name_without_a_near_one_lists_what_is_known() -> None:
    with pytest.raises(ConfigError, match=r"known are buffer, effect, hands, "):
        config_from_mapping({"zzzzqqq": 1}, "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: HandsConfig(min_detection_confidence=1.5),
        lambda: LossConfig(lost_after_frames=10, remove_after_frames=5),
        lambda: BufferConfig(depth=-1),
        lambda: EffectConfig(opacity=2.0),
        lambda: EffectConfig(kind=EffectKind.REPLACE),
    ],
)
def test_configs_refuse_values_out_of_range(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match="expected"):
        make()
