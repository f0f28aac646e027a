import asyncio
import logging

import pytest

from gest_stream.config import ReconnectConfig
from gest_stream.errors import SourceOpenError
from gest_stream.rtc.endpoint import DialError
from gest_stream.rtc.redial import redial


class Absent:
    """Fails with each error in turn, then connects; time passes only while it is waited."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.ns = 0
        self.waits_s: list[float] = []

    async def dial(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "connected"

    async def wait(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.ns += round(seconds * 1e9)

    def redial(self, config: ReconnectConfig | None = None) -> str:
        work = redial(
            "cam",
            config or ReconnectConfig(),
            self.dial,
            "it stalled",
            setting="some.setting",
            wait=self.wait,
            clock=lambda: self.ns,
            uniform=lambda: 0.5,
        )
        return asyncio.run(work)


def test_it_tries_with_growing_pauses_and_says_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    peer = Absent(DialError("cam: no"), SourceOpenError("cam: no picture"))
    with caplog.at_level(logging.INFO):
        assert peer.redial() == "connected"
    assert peer.waits_s == [0.5, 1.0, 2.0]
    assert caplog.messages == ["cam: lost (it stalled); reconnecting for up to 60 s", "cam: back after 3.5 s"]


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    peer = Absent(DialError("cam: full", 7.0), DialError("cam: full", 0.0))
    assert peer.redial() == "connected"
    assert peer.waits_s == [0.5, 7.0, 2.0]


def test_it_gives_up_in_time_and_tells_the_last_reason() -> None:
    peer = Absent(*[DialError("cam: connection refused")] * 100)
    with pytest.raises(DialError) as info:
        peer.redial(ReconnectConfig(give_up_after_s=4.0))
    assert str(info.value) == (
        "cam: lost (it stalled) and not back after 3 attempts in 3.5 s; the last said: connection refused; "
        "check the network and the server, or raise some.setting"
    )


def test_other_errors_are_not_retried() -> None:
    with pytest.raises(KeyError):
        Absent(KeyError("a bug")).redial()
