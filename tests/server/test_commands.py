import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.errors import SignallingError
from gest_stream.server.commands import EffectCommand, PromptCommand, command_id_of, parse_command
from gest_stream.server.rate import RateLimit, Verdict


def parse(**values: Any) -> Any:
    return parse_command(json.dumps({"v": 1, "id": 5, **values}), 4096)


def test_a_prompt_is_read() -> None:
    command = parse(type="prompt", points_xy_norm=[[0.5, 1]], labels=[1], track_id=3)
    assert isinstance(command, PromptCommand)
    assert (command.points_xy_norm, command.labels, command.track_id) == ([(0.5, 1.0)], [1], 3)


def test_what_an_effect_leaves_out_is_none() -> None:
    command = parse(type="effect", kind="blur", blur_px=20)
    assert isinstance(command, EffectCommand)
    assert (command.kind, command.blur_px, command.opacity) == ("blur", 20.0, None)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("{", "Invalid JSON"),
        ("[]", "command"),
        ('{"v":1,"id":1,"type":"shout"}', "shout"),
        ('{"v":2,"id":1,"type":"ping","time_ms":1}', "ping.v"),
        ('{"v":1,"id":-1,"type":"ping","time_ms":1}', "ping.id"),
        ('{"v":1,"id":1,"type":"ping"}', "ping.time_ms: Field required"),
        ('{"v":1,"id":1,"type":"ping","time_ms":NaN}', "command"),
        ('{"v":1,"id":1,"type":"pause","paused":"yes"}', "pause.paused"),
        ('{"v":1,"id":1,"type":"effect","kind":"transparent"}', "effect.kind"),
        ('{"v":1,"id":1,"type":"prompt","points_xy_norm":[[1.5,0]]}', "points_xy_norm"),
        ('{"v":1,"id":1,"type":"prompt","points_xy_norm":[[0.5,0]],"labels":[2]}', "labels"),
        ('{"v":1,"id":1,"type":"remove_track","track_id":1,"x":1}', "remove_track.x"),
        (b"\x00", "binary"),
        ("x" * 5000, "at most 4096 bytes"),
    ],
)
def test_what_is_no_command_is_told(message: str | bytes, told: str) -> None:
    with pytest.raises(SignallingError) as caught:
        parse_command(message, 4096)
    assert told in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
commands = st.fixed_dictionaries(
    {},
    optional={
        "v": st.sampled_from([1, 2, "1", None]),
        "id": st.integers() | st.text(max_size=3),
        "type": st.sampled_from(["prompt", "effect", "pause", "results", "ping", "remove_track", "x"]),
        **{
            name: json_values
            for name in ("points_xy_norm", "labels", "track_id", "kind", "paused", "include", "time_ms")
        },
    },
)


@given(st.one_of(st.text(), st.binary(), json_values.map(json.dumps), commands.map(json.dumps)))
def test_no_message_gets_past_as_anything_but_a_command_or_a_refusal(message: str | bytes) -> None:
    try:
        assert parse_command(message, 4096).v == 1
    except SignallingError as exc:
        assert str(exc).startswith("command")
    assert isinstance(command_id_of(message), int | None)


def test_a_second_s_messages_may_come_at_once_and_more_are_refused_until_time_has_passed() -> None:
    now = [0]
    rate = RateLimit(10, lambda: now[0])
    assert [rate.take() for _ in range(11)] == [Verdict.TAKEN] * 10 + [Verdict.TOO_MANY]
    now[0] += 500_000_000
    assert [rate.take() for _ in range(5)] == [Verdict.TAKEN] * 4 + [Verdict.TOO_MANY]


def test_ten_times_as_many_are_a_flood_and_a_peer_that_calms_down_is_heard_again() -> None:
    now = [0]
    rate = RateLimit(10, lambda: now[0])
    verdicts = [rate.take() for _ in range(120)]
    assert verdicts[60] is Verdict.TOO_MANY and verdicts[-1] is Verdict.FLOOD
    now[0] += 60_000_000_000
    assert rate.take() is Verdict.TAKEN
