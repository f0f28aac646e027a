import dataclasses
from typing import Any

import pytest

from gest_stream.errors import ConfigError
from gest_stream.synthetic import PRESETS, ClipConfig, Event, EventKind, preset


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": (640, 8)}, "synthetic size: expected 64x64 to 4096x4096 pixels, got 640x8"),
        ({"frames": 0}, "synthetic frames: expected 1 to 1000000, got 0"),
        ({"rate": 0}, "synthetic rate"),
        ({"hands": 3}, "synthetic hands: expected 1 to 2, got 3"),
        ({"seed": -1}, "synthetic seed"),
        ({"shutter": 1.5}, "synthetic shutter: expected 0 to 1"),
        ({"noise": -1.0}, "synthetic noise"),
        ({"tones": (3.0,)}, "synthetic tones: expected none or 2"),
        ({"tones": (0.0, 4.0)}, "synthetic tones: expected 1 to 10 each"),
        ({"hands": 1, "events": (Event(EventKind.CROSS, 0, 1),)}, "synthetic event cross"),
        ({"hands": 1, "events": (Event(EventKind.LEAVE, 0, 1, hand=1),)}, "synthetic event leave"),
        ({"events": (Event(EventKind.LEAVE, 0, 1, elsewhere=True),)}, "leave elsewhere: expected a clip of one hand"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_value(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        ClipConfig(**changed)


@pytest.mark.parametrize("times", [(-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_event_without_a_time_is_refused(times: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="event (start|duration)_s"):
        Event(EventKind.LEAVE, *times)


def test_only_a_hand_that_leaves_can_return_elsewhere() -> None:
    with pytest.raises(ConfigError, match="event elsewhere: expected an event of the kind 'leave', got swipe"):
        Event(EventKind.SWIPE, 0.0, 1.0, elsewhere=True)


def test_an_event_knows_how_far_it_is() -> None:
    event = Event(EventKind.SWIPE, 2.0, 4.0)
    assert [event.progress(t) for t in (1.9, 2.0, 3.0, 6.0, 6.1)] == [None, 0.0, 0.25, 1.0, None]


def test_every_preset_lasts_beyond_its_last_event() -> None:
    for name in PRESETS:
        clip = preset(name)
        assert all(event.start_s + event.duration_s <= clip.duration_s for event in clip.events), name


def test_the_demo_holds_every_kind_of_event_and_two_skin_tones() -> None:
    demo = preset("demo")
    assert {event.kind for event in demo.events} == set(EventKind)
    assert demo.hands == 2 and len(set(demo.tones)) == 2


def test_presets_differ_in_skin_tone() -> None:
    assert len({preset(name).tones for name in PRESETS}) == len(PRESETS)


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'demmo': unknown; did you mean 'demo'"):
        preset("demmo")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("easy").frames = 3  # type: ignore[misc]
