"""File, --set and flags become one config; mistakes name their place."""

from pathlib import Path

import pytest
import typer

from gest_stream.cli.choices import choice_parser, parse_size
from gest_stream.cli.settings import compose_config
from gest_stream.config import EffectKind, SegmenterKind
from gest_stream.errors import ConfigError


def test_flags_win_over_set_which_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        'segmenter = "none"\n[hands]\nmax_hands = 1\n[tracker.loss]\nlost_after_frames = 7\nremove_after_frames = 70'
    )
    config = compose_config(
        file, ["hands.max_hands=3", "tracker.loss.lost_after_frames=8"], {"hands.max_hands": 4, "effect.kind": None}
    )
    assert config.segmenter is SegmenterKind.NONE
    assert config.hands.max_hands == 4
    assert config.tracker.loss.lost_after_frames == 8
    assert config.tracker.loss.remove_after_frames == 70
    assert config.effect.kind is EffectKind.OVERLAY


def test_set_takes_bare_strings_and_toml_values() -> None:
    config = compose_config(None, ["effect.kind=green", "effect.opacity=0.25", "hands.mirrored=true"], {})
    assert (config.effect.kind, config.effect.opacity, config.hands.mirrored) == (EffectKind.GREEN, 0.25, True)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("hands.max_hand=3", r"hands\.max_hand: unknown setting; did you mean 'max_hands'"),
        ("hands.max_hands", r"--set hands\.max_hands: expected KEY=VALUE"),
        ("hands.max_hands=lots", r"hands\.max_hands: .*got 'lots'"),
        ("segmenter.kind=light", r"segmenter"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_config(None, [assignment], {})


def test_a_value_cannot_be_opened_as_a_group() -> None:
    with pytest.raises(ConfigError, match="'segmenter' is a value, not a group"):
        compose_config(None, ["segmenter=light", "segmenter.kind=light"], {})


def test_an_unknown_choice_suggests_the_nearest() -> None:
    parse = choice_parser(EffectKind)
    assert parse("blur") is EffectKind.BLUR
    with pytest.raises(typer.BadParameter, match="'bluur' is not known; did you mean 'blur'"):
        parse("bluur")


@pytest.mark.parametrize("text", ["1280", "1280x", "0x720", "axb", "1280x720x3"])
def test_a_wrong_size_shows_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="for example 1280x720"):
        parse_size(text)


def test_a_size_is_width_and_height() -> None:
    assert parse_size("1280X720") == (1280, 720)
