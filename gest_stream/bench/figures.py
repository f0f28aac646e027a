"""Samples to figures: percentiles with the blocks that tell their noise, histograms, slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.bench.record import Distribution, Histogram
from gest_stream.errors import InvalidInputError

BLOCKS: Final = 5
_MIN_BLOCK: Final = 10
_BINS: Final = 40
_DIGITS: Final = 3


def distribution(samples: Sequence[float] | NDArray[np.float64]) -> Distribution:
    """Percentiles of samples in the order in which they were taken.

    Blocks hold ten samples or more, so that few samples make few blocks; below twenty there is one.

    Raises:
        InvalidInputError: There is no sample, or one is not finite.
    """
    values = np.asarray(samples, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise InvalidInputError(f"distribution: expected one finite sample or more, got {values[:5].tolist()}")
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    pieces = np.array_split(values, min(BLOCKS, max(values.size // _MIN_BLOCK, 1)))
    blocks = np.array([np.percentile(piece, (50, 95, 99)) for piece in pieces])
    return Distribution(
        count=int(values.size),
        mean=_rounded(values.mean()),
        p50=_rounded(p50),
        p95=_rounded(p95),
        p99=_rounded(p99),
        max=_rounded(values.max()),
        block_p50=tuple(map(_rounded, blocks[:, 0])),
        block_p95=tuple(map(_rounded, blocks[:, 1])),
        block_p99=tuple(map(_rounded, blocks[:, 2])),
    )


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)


def distribution_or_none(samples: Sequence[float]) -> Distribution | None:
    """The same; None where there is no sample."""
    return distribution(samples) if len(samples) else None


def histogram(samples: Sequence[float] | NDArray[np.float64]) -> Histogram:
    """Counts in 40 bins up to the 99th percentile and a half; the last one takes what lies above.

    Raises:
        InvalidInputError: There is no sample.
    """
    values = np.asarray(samples, np.float64)
    if values.size == 0:
        raise InvalidInputError("histogram: expected one sample or more, got none")
    top = max(1.5 * float(np.percentile(values, 99)), 1e-3)
    edges = np.linspace(0.0, top, _BINS + 1)
    counts, _ = np.histogram(np.minimum(values, top), edges)
    return Histogram(tuple(map(_rounded, edges)), tuple(int(count) for count in counts))


def slope(times: Sequence[float], values: Sequence[float]) -> tuple[float, float] | None:
    """Slope of a straight line through the values (least squares) and its standard error.

    Returns:
        None for fewer than three points or where all lie at one time.
    """
    if len(set(times)) < 2 or len(times) < 3:
        return None
    from scipy.stats import linregress

    line = linregress(times, values)
    return float(line.slope), float(line.stderr)


def shown_ages_ms(
    shown_ns: Sequence[int], captured_ns: Sequence[int], mask_age_ms: Sequence[float], looks_per_s: int = 240
) -> NDArray[np.float64]:
    """Age of the mask on screen at regular looks, from the first hand-over to the last.

    Between two hand-overs the screen keeps the earlier picture, whose mask grows old; where a frame was dropped, twice
    as old.

    Args:
        shown_ns: When each frame was handed over, growing.
        captured_ns: When each of them was captured.
        mask_age_ms: How much older than its frame each one's mask was; 0 unless it was carried.
        looks_per_s: Looks a second.

    Returns:
        (L,) milliseconds; empty for fewer than two frames.
    """
    if len(shown_ns) < 2:
        return np.empty(0)
    looks = np.arange(shown_ns[0], shown_ns[-1], 1e9 / looks_per_s)
    on_screen = np.searchsorted(np.asarray(shown_ns), looks, side="right") - 1
    born_ns = np.asarray(captured_ns, np.float64) - np.asarray(mask_age_ms) * 1e6
    return np.asarray((looks - born_ns[on_screen]) / 1e6)
