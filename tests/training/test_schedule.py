import math
from pathlib import Path

import pytest

from gest_stream.training.schedule import DEFAULT_EPOCHS, Schedule
from tests.training.made_data import folder_source, small_training

DATA = [folder_source(Path("pictures"))]


def schedule(**changes: object) -> Schedule:
    return Schedule.of(small_training(Path(), DATA, **{"steps": None, "batch": 8, **changes}), pictures=100)


def test_epochs_become_steps() -> None:
    assert schedule(epochs=2.0).steps == 25
    assert schedule(epochs=0.001).steps == 1
    assert schedule().steps == math.ceil(DEFAULT_EPOCHS * 100 / 8)


def test_the_first_limit_counts() -> None:
    assert schedule(epochs=2.0, steps=7).steps == 7
    assert schedule(epochs=2.0, steps=70).steps == 25
    both = schedule(steps=100, minutes=1.0)
    assert both.share_done(50, 0.0) == 0.5 and both.share_done(50, 45.0) == 0.75 and both.share_done(1, 99.0) == 1.0


def test_minutes_alone_set_no_limit_of_steps() -> None:
    limit = schedule(minutes=2.0)
    assert math.isinf(limit.steps) and limit.share_done(10**6, 60.0) == 0.5


def test_the_rate_rises_evenly_then_falls_by_half_a_cosine() -> None:
    plan = schedule(steps=1000, warm_up_steps=9)
    shares = [plan.rate_share(step, 0.0) for step in range(1000)]
    assert shares[:3] == pytest.approx([0.1, 0.2, 0.3], abs=1e-3)
    assert shares[9] == pytest.approx(1.0, abs=1e-3)
    assert shares[500] == pytest.approx(0.505, abs=1e-3)
    assert all(after < before for before, after in zip(shares[9:], shares[10:], strict=False))
    assert 0.01 <= shares[-1] < 0.011


def test_the_rise_is_at_most_a_tenth() -> None:
    assert schedule(steps=50, warm_up_steps=1000).warm_up_steps == 5
