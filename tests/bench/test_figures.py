"""Percentiles, blocks, histograms, slopes and the age of what is on screen."""

import numpy as np
import pytest

from gest_stream.bench.figures import distribution, distribution_or_none, histogram, shown_ages_ms, slope
from gest_stream.errors import InvalidInputError


def test_percentiles_are_numpys() -> None:
    values = list(range(1, 101))
    found = distribution(values)
    assert (found.count, found.mean, found.max) == (100, 50.5, 100)
    assert (found.p50, found.p95, found.p99) == tuple(np.percentile(values, (50, 95, 99)).round(3))


def test_blocks_follow_the_order_of_the_samples() -> None:
    found = distribution([1.0] * 20 + [2.0] * 20 + [3.0] * 20 + [4.0] * 20 + [5.0] * 20)
    assert found.block_p50 == found.block_p95 == found.block_p99 == (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize(("count", "blocks"), [(1, 1), (19, 1), (20, 2), (49, 4), (1000, 5)])
def test_few_samples_make_few_blocks(count: int, blocks: int) -> None:
    assert len(distribution([1.0] * count).block_p50) == blocks


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_no_sample_and_no_number_are_refused(values: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="one finite sample"):
        distribution(values)


def test_a_stage_that_never_ran_has_no_distribution() -> None:
    assert distribution_or_none([]) is None


def test_a_histogram_counts_every_sample_and_keeps_outliers_in_its_last_bin() -> None:
    found = histogram([10.0] * 199 + [1000.0])
    assert sum(found.counts) == 200 and found.counts[-1] == 1
    assert len(found.edges_ms) == len(found.counts) + 1
    assert found.edges_ms[-1] < 100


def test_a_line_has_its_slope_and_no_error() -> None:
    found = slope([0.0, 1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 11.0])
    assert found is not None and found[0] == pytest.approx(2.0) and found[1] == pytest.approx(0.0, abs=1e-9)


def test_noise_around_a_level_has_a_slope_within_its_error() -> None:
    rng = np.random.default_rng(3)
    found = slope(list(range(200)), list(400 + rng.standard_normal(200)))
    assert found is not None and abs(found[0]) < 3 * found[1] < 0.05


@pytest.mark.parametrize("times", [[], [1.0, 2.0], [1.0, 1.0, 1.0]])
def test_too_few_points_have_no_slope(times: list[float]) -> None:
    assert slope(times, times) is None


def test_what_is_on_screen_grows_old_until_the_next_frame() -> None:
    ms = 1_000_000
    # captured at 0 and 100 ms, handed over 20 ms later: on screen from 20 to 120 ms, aged 20 to 120 ms
    ages = shown_ages_ms([20 * ms, 120 * ms], [0, 100 * ms], [0.0, 0.0], looks_per_s=1000)
    assert ages.tolist() == pytest.approx(list(range(20, 120)))


def test_a_carried_mask_is_as_much_older_as_it_was_carried() -> None:
    ms = 1_000_000
    ages = shown_ages_ms([20 * ms, 30 * ms, 40 * ms], [0, 10 * ms, 20 * ms], [0.0, 500.0, 0.0], looks_per_s=1000)
    assert ages[:10].max() < 30 and ages[10:].min() >= 520


def test_one_frame_alone_has_no_age() -> None:
    assert shown_ages_ms([5], [0], [0.0]).size == 0
