"""Drawing into frames of every format: what is exact, and what colour comes out."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.format import names  # type: ignore[attr-defined]
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.pipe.planes import PlaneLayout, layout_of, stored_top_down, with_alpha
from gest_stream.pipe.repaint import Repainter, differing
from tests.pipe.scripted import noise

DRAWN = (slice(11, 20), slice(21, 34))
COLOUR = (200, 60, 30)
COMMON = (
    *("yuv420p", "yuvj420p", "nv12", "nv21", "yuv422p", "yuv444p", "yuv411p", "yuv420p10le", "yuv422p10le", "p010le"),
    *("yuyv422", "uyvy422", "rgb24", "bgr24", "rgba", "argb", "rgb0", "gbrp", "gray", "ya8", "yuva420p", "rgba64le"),
)
ODD, EVEN = (63, 47), (64, 48)
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr and Kb by ITU-T H.273, table 4."""


def frame_of(name: str, size: tuple[int, int] = EVEN) -> tuple[av.VideoFrame, NDArray[np.uint8]]:
    """A frame of noise and what it looks like."""
    rgba = np.dstack([noise(3, size), noise(4, size)[..., 0]])
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=name)
    frame.pts, frame.time_base = 7, Fraction(1, 25)
    return frame, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def units_of(frame: av.VideoFrame) -> list[tuple[PlaneLayout, NDArray[np.uint8]]]:
    size = (frame.width, frame.height)
    layouts = layout_of(frame.format)
    return [(layout, layout.units(plane, size)) for layout, plane in zip(layouts, frame.planes, strict=True)]


def drawn_units(layout: PlaneLayout, shape: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which units hold a pixel of `DRAWN`, worked out one by one."""
    mask = np.zeros((size[1], size[0]), bool)
    mask[DRAWN] = True
    across, down = layout.across, layout.down
    rows = range(shape[0])
    return np.array(
        [[mask[y * down : (y + 1) * down, x * across : (x + 1) * across].any() for x in range(shape[1])] for y in rows]
    )


def check_exact_outside(name: str, size: tuple[int, int]) -> None:
    frame, before = frame_of(name, size)
    kept = [units.copy() for _, units in units_of(frame)]
    drawn = before.copy()
    drawn[DRAWN] = COLOUR
    painted = Repainter().repaint(frame, before, drawn)
    assert (painted.format.name, painted.pts, painted.time_base) == (name, 7, Fraction(1, 25))
    for (layout, old), (_, new), original in zip(units_of(frame), units_of(painted), kept, strict=True):
        np.testing.assert_array_equal(old, original)  # the frame that went in is not written to
        touched = drawn_units(layout, old.shape, size)
        np.testing.assert_array_equal(new[~touched], old[~touched])
        assert layout.is_alpha or not np.array_equal(new[touched], old[touched])
        start, end = layout.alpha
        np.testing.assert_array_equal(new[..., start:end], old[..., start:end])


@pytest.mark.parametrize("size", [EVEN, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("name", COMMON)
def test_what_was_not_drawn_on_and_alpha_keep_every_bit(name: str, size: tuple[int, int]) -> None:
    check_exact_outside(name, size)


def test_so_does_every_format_that_ffmpeg_converts_both_ways() -> None:
    done = 0
    for name in sorted(names - set(COMMON)):
        try:
            layout_of(av.VideoFormat(name))
            frame_of(name)
        except (InvalidInputError, OSError, ValueError):
            continue
        check_exact_outside(name, ODD)
        done += 1
    assert done > 120


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 1), (2, 2)])
@pytest.mark.parametrize("name", ["yuv420p", "nv12", "rgb24", "rgba", "yuyv422", "yuv422p10le", "yuv410p"])
def test_the_smallest_pictures_can_be_drawn_on(name: str, size: tuple[int, int]) -> None:
    frame, before = frame_of(name, size)
    drawn = before.copy()
    drawn[0, 0] = 255 - drawn[0, 0]
    painted = Repainter().repaint(frame, before, drawn)
    assert (painted.width, painted.height, painted.format.name) == (*size, name)
    assert painted.to_ndarray(format="rgb24").shape == before.shape


def expected_yuv(matrix: int, full: bool) -> tuple[float, float, float]:
    """`COLOUR` by ITU-T H.273, equations 25 to 37, for 8 bits."""
    red, green, blue = COLOUR
    kr, kb = WEIGHTS[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma_b, chroma_r = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if full:
        return luma, 128 + chroma_b, 128 + chroma_r
    return 16 + luma * 219 / 255, 128 + chroma_b * 224 / 255, 128 + chroma_r * 224 / 255


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", sorted(WEIGHTS))
@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv444p", "yuv422p10le"])
def test_what_is_drawn_has_its_colour_by_the_frames_own_matrix_and_range(name: str, matrix: int, full: bool) -> None:
    frame = av.VideoFrame(*EVEN, name)
    for _, units in units_of(frame):
        units[:] = 1 if "10" in name else 100
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    frame.color_primaries, frame.color_trc = 9, 16
    before = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    painted = Repainter().repaint(frame, before, np.full_like(before, COLOUR))
    tags = (painted.colorspace, painted.color_range, painted.color_primaries, painted.color_trc)
    assert tags == (matrix, 2 if full else 1, 9, 16)
    planes = [units[10, 10] for _, units in units_of(painted)]
    if name == "nv12":
        got = [float(planes[0][0]), float(planes[1][0]), float(planes[1][1])]
    elif "10" in name:
        got = [float(unit.view("<u2")[0]) / 4 for unit in planes]
    else:
        got = [float(unit[0]) for unit in planes]
    assert got == pytest.approx(expected_yuv(matrix, full), abs=1.2)


def test_a_yuvj_format_is_full_range_without_a_tag() -> None:
    frame, before = frame_of("yuvj420p")
    frame.colorspace = 6
    painted = Repainter().repaint(frame, before, np.full_like(before, COLOUR))
    got = [float(units[10, 10, 0]) for _, units in units_of(painted)]
    assert got == pytest.approx(expected_yuv(6, True), abs=1.2)


def test_a_frame_on_which_nothing_is_drawn_comes_back_itself() -> None:
    frame, before = frame_of("yuv420p")
    assert Repainter().repaint(frame, before, before.copy()) is frame


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yuv420p", "yuva420p"),
        ("nv12", "yuva420p"),
        ("rgb24", "rgba"),
        ("rgba", "rgba"),
        ("yuv422p10le", "yuva422p10le"),
    ],
)
def test_a_picture_with_alpha_gives_its_alpha_exactly(name: str, expected: str) -> None:
    frame, before = frame_of(name)
    alpha = np.random.default_rng(0).integers(0, 256, before.shape[:2], np.uint8)
    painted = Repainter().repaint(frame, before, np.dstack([before, alpha]))
    assert painted.format.name == expected
    layout, units = units_of(painted)[-1]
    start, end = layout.alpha
    got = units[..., start:end].astype(np.uint16)
    if "10" in expected:
        np.testing.assert_array_equal(got[..., 0] + 256 * got[..., 1], np.rint(alpha * (1023 / 255)))
    else:
        np.testing.assert_array_equal(got[..., 0], alpha)


def test_a_picture_with_alpha_keeps_the_colours_of_planar_frames() -> None:
    frame, before = frame_of("yuv420p")
    painted = Repainter().repaint(frame, before, np.dstack([before, np.full(before.shape[:2], 255, np.uint8)]))
    for (_, old), (_, new) in zip(units_of(frame), units_of(painted)[:3], strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("name", ["pal8", "monow", "bayer_rggb8", "cuda", "rgb565be"])
def test_formats_whose_pixels_cannot_be_told_apart_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"cannot draw on the pixel format {name}; convert it first"):
        layout_of(av.VideoFormat(name))


def test_a_format_without_a_counterpart_with_alpha_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="yuv410p has no counterpart with alpha"):
        with_alpha(av.VideoFormat("yuv410p"))


def test_every_format_with_alpha_that_is_named_exists_and_has_it() -> None:
    for name in names:
        try:
            named = with_alpha(av.VideoFormat(name))
        except InvalidInputError:
            continue
        assert any(component.is_alpha for component in av.VideoFormat(named).components), name


def test_a_matrix_that_ffmpeg_cannot_convert_is_named() -> None:
    frame, before = frame_of("yuv420p")
    frame.colorspace = 14  # ICtCp
    with pytest.raises(InvalidInputError, match="yuv420p pictures of colour matrix 14"):
        Repainter().repaint(frame, before, np.full_like(before, COLOUR))


def test_pictures_of_another_size_are_refused() -> None:
    frame, before = frame_of("yuv420p")
    with pytest.raises(InvalidInputError, match="expected pictures of 64x48 pixels"):
        Repainter().repaint(frame, before, before[:-2])


def test_a_frame_that_is_stored_upside_down_is_drawn_on_too() -> None:
    frame, _ = frame_of("yuv420p")
    graph = av.filter.Graph()
    feed = graph.add_buffer(width=64, height=48, format=frame.format, time_base=Fraction(1, 25))
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    feed.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    graph.push(frame)
    flipped = graph.pull()
    assert isinstance(flipped, av.VideoFrame)
    assert not stored_top_down(flipped)
    before = np.asarray(flipped.to_ndarray(format="rgb24"), np.uint8)
    drawn = before.copy()
    drawn[DRAWN] = COLOUR
    after = Repainter().repaint(flipped, before, drawn).to_ndarray(format="rgb24").astype(int)
    assert np.abs(after[14:18, 25:30] - COLOUR).max() <= 12
    assert np.abs(after[30:].astype(int) - before[30:]).mean() < 3


def test_differing_pixels_are_found_in_any_channel() -> None:
    before = np.full((4, 5, 3), 9, np.uint8)
    drawn = before.copy()
    drawn[0, 1, 0], drawn[2, 3, 1], drawn[3, 4, 2] = 8, 10, 255
    assert np.argwhere(differing(before, drawn)).tolist() == [[0, 1], [2, 3], [3, 4]]
