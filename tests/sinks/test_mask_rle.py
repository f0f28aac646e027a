import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gest_stream.errors import InvalidInputError
from gest_stream.sinks.mask_rle import decode_rle, encode_rle
from gest_stream.types import HandMask, MaskSource


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask_comes_back(mask: np.typing.NDArray[np.bool_]) -> None:
    rle = encode_rle(HandMask.from_full(mask.astype(np.uint8) * 255, 1.0, MaskSource.SCRIPTED))
    assert rle["size"] == list(mask.shape)
    assert np.array_equal(decode_rle(rle), mask)


def test_long_runs_and_negative_differences_come_back() -> None:
    mask = np.zeros((720, 1280), bool)
    mask[100:700, 200:201] = mask[3:5, 203:900] = True
    assert np.array_equal(
        decode_rle(encode_rle(HandMask.from_full(mask.astype(np.uint8) * 255, 1.0, MaskSource.SCRIPTED))), mask
    )


def test_runs_that_do_not_cover_the_size_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected runs that cover 2x3 pixels, got 4"):
        decode_rle({"size": [2, 3], "counts": "4"})
