import logging
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.backoff import pauses_s
from gest_stream.config import ReconnectConfig
from gest_stream.errors import ConfigError, SourceLostError, SourceOpenError
from gest_stream.sources.reconnect import Reconnector
from tests.sources.running import FakeTime


def reconnector(time: FakeTime, config: ReconnectConfig, stopped: bool = False) -> Reconnector:
    return Reconnector("cam", config, time.wait, lambda: stopped, time.clock, lambda: 0.5)


def test_pauses_double_from_half_a_second_to_ten() -> None:
    pauses = list(islice(pauses_s(ReconnectConfig(), lambda: 0.5), 7))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 0.9))
def test_jitter_stays_within_its_fraction(drawn: float, jitter: float) -> None:
    jittered = islice(pauses_s(ReconnectConfig(jitter=jitter), lambda: drawn), 8)
    middles = islice(pauses_s(ReconnectConfig(), lambda: 0.5), 8)
    for pause, middle in zip(jittered, middles, strict=True):
        assert middle * (1 - jitter) - 1e-9 <= pause <= middle * (1 + jitter) + 1e-9


def test_jitter_moves_the_pauses() -> None:
    assert next(pauses_s(ReconnectConfig(jitter=0.25), lambda: 0.0)) == 0.375


def test_it_tries_until_the_source_is_back(caplog: pytest.LogCaptureFixture) -> None:
    time = FakeTime()
    absent = iter([True, True, False])

    def connect() -> str:
        if next(absent):
            raise SourceOpenError("no")
        return "frame"

    with caplog.at_level(logging.INFO):
        assert reconnector(time, ReconnectConfig()).recover(connect, "it stalled") == "frame"
    assert time.waits_s == [0.5, 1.0, 2.0]
    assert [r.getMessage() for r in caplog.records] == [
        "cam: lost (it stalled); reconnecting for up to 60 s",
        "cam: back after 3.5 s",
    ]


def test_it_gives_up_at_its_limit_and_tells_the_last_reason() -> None:
    time = FakeTime()

    def connect() -> None:
        raise SourceOpenError("still unplugged")

    with pytest.raises(SourceLostError) as caught:
        reconnector(time, ReconnectConfig(give_up_after_s=5)).recover(connect, "no frames")
    assert time.waits_s == [0.5, 1.0, 2.0]
    assert str(caught.value) == (
        "cam: lost (no frames) and not back after 3 attempts in 3.5 s; the last said: still unplugged; "
        "check its cable or network, or raise source.reconnect.give_up_after_s"
    )


def test_a_limit_of_zero_gives_up_at_once() -> None:
    with pytest.raises(SourceLostError, match="not back after 0 attempts"):
        reconnector(FakeTime(), ReconnectConfig(give_up_after_s=0)).recover(lambda: 1, "no frames")


def test_stopping_ends_the_attempts() -> None:
    def connect() -> int:
        raise AssertionError("must not be tried")

    assert reconnector(FakeTime(), ReconnectConfig(), stopped=True).recover(connect, "x") is None


@pytest.mark.parametrize("bad", [{"initial_s": 0.0}, {"max_s": 0.1}, {"jitter": 1.0}, {"give_up_after_s": -1.0}])
def test_settings_without_meaning_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"source\.reconnect\.{next(iter(bad))}: expected"):
        ReconnectConfig(**bad)
