"""Settings check themselves; TOML mistakes are named with the remedy."""

from pathlib import Path
from typing import Any

import pytest

from gest_stream.config import (
    BufferConfig,
    BufferPolicy,
    EffectConfig,
    HandsConfig,
    LossConfig,
    PipelineConfig,
    Sam2Config,
    Sam2Runner,
    SegmenterKind,
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
    with pytest.raises(ConfigError, match=r"known are batching, buffer, deadline, effect, hands, "):
        config_from_mapping({"zzzzqqq": 1}, "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: HandsConfig(min_detection_confidence=1.5),
        lambda: LossConfig(lost_after_frames=10, remove_after_frames=5),
        lambda: BufferConfig(depth=-1),
        lambda: EffectConfig(opacity=2.0),
    ],
)
def test_configs_refuse_values_out_of_range(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match="expected"):
        make()


def test_names_of_choices_are_taken_for_the_choices() -> None:
    name: Any = "exact"
    assert Sam2Config(runner=name).runner is Sam2Runner.EXACT
    name = "none"
    assert PipelineConfig(segmenter=name).segmenter is SegmenterKind.NONE


def test_a_choice_that_is_unknown_is_an_error() -> None:
    name: Any = "exakt"
    with pytest.raises(ConfigError, match=r"runner: 'exakt' is not known; did you mean 'exact'\?"):
        Sam2Config(runner=name)
    name = "lossles"
    with pytest.raises(ConfigError, match=r"policy: 'lossles' is not known; did you mean 'lossless'\?"):
        BufferConfig(policy=name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 500}, "sam2.image_size: expected a multiple of 32 from 64 to 2048, got 500"),
        ({"device": "gpu"}, "sam2.device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ({"device": "cpu:1"}, "sam2.device"),
        ({"conditioning_frames": 0}, "sam2.conditioning_frames: expected 1 to 32, got 0"),
        ({"conditioning_frames": 1, "keep": "anchor"}, "expected 2 or more where keep is 'anchor', got 1"),
        ({"max_hole_share": 1.5}, "sam2.max_hole_share: expected 0 to 1, got 1.5"),
    ],
)
def test_sam2_settings_without_a_meaning_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Sam2Config(**settings)
    assert message in str(error.value)
