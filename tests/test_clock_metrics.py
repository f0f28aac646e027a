"""Media time, pacing and latency summaries."""

from fractions import Fraction

import pytest

from gest_stream.clock import Pacer, media_time_ms, media_time_s
from gest_stream.errors import ConfigError
from gest_stream.metrics import LatencyReport, StageTimer

SECOND_NS = 1_000_000_000


def test_media_time_follows_the_time_base() -> None:
    assert media_time_s(1001, Fraction(1, 30000)) == pytest.approx(1001 / 30000)
    assert media_time_ms(2 * 1001, Fraction(1, 30000)) == 66


def test_pacer_waits_until_the_frame_is_due() -> None:
    pacer = Pacer()
    assert pacer.delay_s(5.0, 0) == 0.0
    assert pacer.delay_s(5.5, SECOND_NS // 10) == pytest.approx(0.4)
    assert pacer.delay_s(5.6, SECOND_NS) == 0.0


def test_pacer_anchors_anew_at_a_jump() -> None:
    pacer = Pacer(max_jump_s=2.0)
    pacer.delay_s(100.0, 0)
    assert pacer.delay_s(0.0, SECOND_NS) == 0.0
    assert pacer.delay_s(0.5, SECOND_NS) == pytest.approx(0.5)
    assert pacer.delay_s(1000.0, SECOND_NS) == 0.0


def test_latency_percentiles_count_and_max() -> None:
    report = LatencyReport(window=100)
    report.add({"segment": 1000.0})
    for value in range(1, 101):
        report.add({"segment": float(value)})
    summary = report.summary()["segment"]
    assert summary.count == 101
    assert summary.max == 1000.0
    assert summary.p50 == pytest.approx(50.5)
    assert summary.p99 == pytest.approx(99.01)
    assert report.as_dict()["segment"]["mean"] == 50.5


def test_latency_window_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="window"):
        LatencyReport(window=0)


def test_stage_timer_adds_up_a_repeated_stage() -> None:
    timer = StageTimer()
    with timer.stage("draw"):
        pass
    once = timer.ms["draw"]
    with timer.stage("draw"):
        pass
    assert timer.ms["draw"] > once > 0
