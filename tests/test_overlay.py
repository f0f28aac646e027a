from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.overlay import Renderer, draw_landmarks, track_colour
from gest_stream.overlay.labels import label_text
from gest_stream.overlay.matte import blend, tint
from gest_stream.overlay.palette import GREEN_SCREEN, text_colour_on
from gest_stream.testing import make_landmarks
from gest_stream.types import (
    Frame,
    FrameResult,
    Handedness,
    HandLandmarks,
    HandMask,
    MaskSource,
    Track,
    TrackState,
)

SIZE = (160, 120)
GREY = (100, 110, 120)


def box_mask(left: int, top: int, right: int, bottom: int, value: int = 255, size: tuple[int, int] = SIZE) -> HandMask:
    crop = np.full((bottom - top, right - left), value, np.uint8)
    return HandMask(crop, (left, top), size, 1.0, MaskSource.SCRIPTED)


def track_of(mask: HandMask | None, track_id: int = 1, landmarks: HandLandmarks | None = None) -> Track:
    return Track(track_id, TrackState.TRACKED, Handedness.RIGHT, 1.0, landmarks, mask)


def result_of(*tracks: Track, image: NDArray[np.uint8] | None = None) -> FrameResult:
    if image is None:
        image = np.full((SIZE[1], SIZE[0], 3), GREY, np.uint8)
    return FrameResult(Frame(image, 0, Fraction(1, 30), 0), tracks)


def effect(kind: EffectKind, feather_px: int = 0, background: Path | None = None, labels: bool = False) -> Renderer:
    return Renderer(EffectConfig(kind, feather_px=feather_px, background=background, labels=labels))


def saved_picture(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> Path:
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), colour[::-1], np.uint8))
    return path


@pytest.mark.parametrize("kind", list(EffectKind))
@pytest.mark.parametrize("labels", [False, True])
def test_the_frame_is_never_written_to(tmp_path: Path, kind: EffectKind, labels: bool) -> None:
    background = saved_picture(tmp_path / "b.png", (20, 20), (1, 2, 3)) if kind is EffectKind.REPLACE else None
    image = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    image.setflags(write=False)
    before = image.copy()
    renderer = Renderer(EffectConfig(kind, background=background, landmarks=True, labels=labels))
    hand = make_landmarks((60, 60), 50)
    out = renderer.render(result_of(track_of(box_mask(40, 30, 80, 90), landmarks=hand), image=image))
    assert np.array_equal(image, before)
    assert not np.shares_memory(out, image)
    assert out.shape == (SIZE[1], SIZE[0], 4 if kind is EffectKind.TRANSPARENT else 3)


@pytest.mark.parametrize("kind", [EffectKind.OVERLAY, EffectKind.CONTOUR, EffectKind.BLUR])
def test_a_plain_frame_without_hands_stays_as_it_is(kind: EffectKind) -> None:
    assert np.array_equal(effect(kind, labels=True).render(result_of()), result_of().frame.image)


def test_the_overlay_mixes_the_tracks_colour_in_by_opacity() -> None:
    renderer = Renderer(EffectConfig(EffectKind.OVERLAY, opacity=0.25, feather_px=0, labels=False))
    out = renderer.render(result_of(track_of(box_mask(40, 30, 80, 90), track_id=2)))
    wanted = 0.75 * np.array(GREY) + 0.25 * np.array(track_colour(2))
    assert np.abs(out[60, 60] - wanted).max() <= 1.5
    assert (out[60, 39] == GREY).all()
    assert (out[60, 80] == GREY).all()
    assert (out[29, 60] == GREY).all()


@pytest.mark.parametrize("track_id", range(1, 8))
def test_tinting_is_blending_with_a_picture_of_that_colour(track_id: int) -> None:
    image, alpha = (part.astype(np.uint8) for part in np.meshgrid(np.arange(256), np.arange(256)))
    image = np.repeat(image[..., None], 3, axis=2)
    colour = track_colour(track_id)
    assert np.array_equal(tint(image, colour, alpha), blend(np.full_like(image, colour), image, alpha))


def test_green_shows_the_hand_alone_at_its_exact_pixels() -> None:
    out = effect(EffectKind.GREEN).render(result_of(track_of(box_mask(40, 30, 80, 90))))
    inside = (out == GREY).all(axis=2)
    assert (out[~inside] == GREEN_SCREEN).all()
    assert inside[30:90, 40:80].all()
    assert np.count_nonzero(inside) == 40 * 60


def test_transparent_is_straight_alpha_and_hides_nothing_behind_it() -> None:
    out = effect(EffectKind.TRANSPARENT).render(result_of(track_of(box_mask(40, 30, 80, 90, value=128))))
    assert (out[60, 60] == (*GREY, 128)).all()
    assert not out[out[..., 3] == 0].any()


@pytest.mark.parametrize("kind", [EffectKind.GREEN, EffectKind.TRANSPARENT])
def test_overlapping_hands_combine_by_the_larger_alpha(kind: EffectKind) -> None:
    weak, strong = track_of(box_mask(20, 20, 80, 80, 90), 1), track_of(box_mask(60, 20, 120, 80, 200), 2)
    for tracks in ((weak, strong), (strong, weak)):
        out = effect(kind).render(result_of(*tracks))
        only_strong = effect(kind).render(result_of(strong))
        assert (out[50, 70] == only_strong[50, 70]).all()


def test_the_feather_is_a_soft_ramp_of_its_width_to_both_sides() -> None:
    row = effect(EffectKind.TRANSPARENT, feather_px=3).render(result_of(track_of(box_mask(40, 30, 80, 90))))[60, :, 3]
    assert (row[:37] == 0).all()
    assert (row[43:77] == 255).all()
    ramp = row[36:44].astype(int)
    assert (np.diff(ramp) > 0).all()
    assert abs(int(row[39]) + int(row[40]) - 255) <= 1


def test_a_hand_cut_off_by_the_picture_stays_opaque_at_its_border() -> None:
    out = effect(EffectKind.TRANSPARENT, feather_px=4).render(result_of(track_of(box_mask(0, 60, 40, 120))))
    assert (out[80:, 0, 3] == 255).all()
    assert (out[-1, :30, 3] == 255).all()


def test_blur_keeps_the_hand_sharp_and_takes_detail_from_the_rest() -> None:
    image = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    out = Renderer(EffectConfig(EffectKind.BLUR, feather_px=0, blur_px=40)).render(
        result_of(track_of(box_mask(40, 30, 80, 90)), image=image)
    )
    assert np.array_equal(out[30:90, 40:80], image[30:90, 40:80])
    assert out[:, 100:].std() < image[:, 100:].std() / 5


def test_the_hands_colour_does_not_bleed_into_the_blurred_background() -> None:
    image = np.full((SIZE[1], SIZE[0], 3), (20, 20, 20), np.uint8)
    image[30:90, 40:80] = (255, 0, 0)
    out = Renderer(EffectConfig(EffectKind.BLUR, feather_px=0, blur_px=40)).render(
        result_of(track_of(box_mask(40, 30, 80, 90)), image=image)
    )
    background = out.copy()
    background[30:90, 40:80] = 20
    assert np.abs(background.astype(int) - 20).max() <= 2


@pytest.mark.parametrize("sigma", [0.5, 12.0, 200.0])
def test_a_uniform_background_survives_any_blur(sigma: float) -> None:
    out = Renderer(EffectConfig(EffectKind.BLUR, blur_px=sigma)).render(result_of(track_of(box_mask(0, 0, 160, 120))))
    assert np.abs(out.astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("size", [(40, 10), (10, 40), (640, 480), (160, 120)], ids=str)
def test_a_background_covers_the_frame_whatever_its_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved_picture(tmp_path / "b.png", size, (10, 200, 60))
    out = effect(EffectKind.REPLACE, background=path).render(result_of(track_of(box_mask(40, 30, 80, 90))))
    assert (out[60, 60] == GREY).all()
    outside = np.ones(out.shape[:2], bool)
    outside[30:90, 40:80] = False
    assert (out[outside] == (10, 200, 60)).all()


def test_a_background_is_cropped_evenly_not_stretched(tmp_path: Path) -> None:
    picture = np.zeros((120, 480, 3), np.uint8)
    picture[:, 160:320] = 255  # the middle third is what a 160x120 frame shows
    cv2.imwrite(str(tmp_path / "b.png"), picture)
    out = effect(EffectKind.REPLACE, background=tmp_path / "b.png").render(result_of())
    assert (out == 255).all()


def test_the_background_follows_a_change_of_size(tmp_path: Path) -> None:
    renderer = effect(EffectKind.REPLACE, background=saved_picture(tmp_path / "b.png", (20, 20), (1, 2, 3)))
    renderer.render(result_of())
    small = np.zeros((30, 40, 3), np.uint8)
    assert renderer.render(result_of(image=small)).shape == (30, 40, 3)
    renderer.render(result_of())[:] = 0  # what is handed out is the caller's
    assert (renderer.render(result_of()) == (1, 2, 3)).all()


def test_replacing_without_a_background_is_told() -> None:
    with pytest.raises(ConfigError, match=r"effect\.background: expected a picture file .*got None"):
        effect(EffectKind.REPLACE)


def test_a_background_can_be_given_as_a_picture() -> None:
    renderer = Renderer(EffectConfig(EffectKind.REPLACE), np.full((20, 20, 3), (9, 8, 7), np.uint8))
    assert (renderer.render(result_of()) == (9, 8, 7)).all()


def test_a_background_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"effect\.background: .*absent\.png cannot be read: No such file"):
        effect(EffectKind.REPLACE, background=tmp_path / "absent.png")


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_background_that_is_no_picture_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(ConfigError, match=r"b\.png is not a picture that can be read; use a PNG or JPEG file"):
        effect(EffectKind.REPLACE, background=tmp_path / "b.png")


def test_the_contour_runs_along_the_masks_edge_and_leaves_its_inside() -> None:
    out = effect(EffectKind.CONTOUR).render(result_of(track_of(box_mask(40, 30, 80, 90), track_id=3)))
    changed = (out != GREY).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert abs(rows.min() - 30) <= 2
    assert abs(rows.max() - 89) <= 2
    assert abs(columns.min() - 40) <= 2
    assert abs(columns.max() - 79) <= 2
    assert not changed[36:84, 46:74].any()
    assert (out[60, 40] == track_colour(3)).all()


@pytest.mark.parametrize("kind", [kind for kind in EffectKind if kind is not EffectKind.REPLACE])
def test_a_mask_of_another_frame_size_is_refused(kind: EffectKind) -> None:
    wrong = track_of(box_mask(0, 0, 10, 10, size=(64, 48)), track_id=5)
    with pytest.raises(
        InvalidInputError, match=r"track 5: its mask is of a frame of \(64, 48\), the frame is \(160, 120"
    ):
        effect(kind).render(result_of(wrong))


@pytest.mark.parametrize("kind", [kind for kind in EffectKind if kind is not EffectKind.REPLACE])
def test_an_empty_mask_shows_nothing(kind: EffectKind) -> None:
    empty = HandMask(np.zeros((0, 0), np.uint8), (0, 0), SIZE, 0.5, MaskSource.SCRIPTED)
    without = effect(kind).render(result_of(track_of(None)))
    assert np.array_equal(effect(kind, feather_px=2).render(result_of(track_of(empty))), without)


def test_track_colours_are_stable_and_seven_in_a_row_differ() -> None:
    assert len({track_colour(track_id) for track_id in range(5, 12)}) == 7
    assert track_colour(1) == track_colour(8)


def test_label_text_is_readable_on_every_colour() -> None:
    for track_id in range(1, 8):
        luma = np.array([0.299, 0.587, 0.114]) @ track_colour(track_id)
        assert abs(luma - 255 * (text_colour_on(track_colour(track_id)) == (255, 255, 255))) > 100


def test_a_label_names_id_hand_and_state() -> None:
    assert label_text(track_of(None, 4)) == "4 right tracked"
    assert label_text(Track(7, TrackState.LOST, Handedness.UNKNOWN, 0.0)) == "7 lost"


@pytest.mark.parametrize("box", [(0, 0, 30, 20), (130, 0, 160, 20), (100, 90, 160, 120), (0, 0, 160, 120)], ids=str)
def test_a_label_stays_inside_the_picture(box: tuple[int, int, int, int]) -> None:
    track = track_of(box_mask(*box))
    labelled = effect(EffectKind.CONTOUR, labels=True).render(result_of(track))
    plain = effect(EffectKind.CONTOUR).render(result_of(track))
    rows, columns = np.nonzero((labelled != plain).any(axis=2))
    assert np.ptp(columns) > 50  # the whole tag, not what a border left of it
    assert np.ptp(rows) > 10


def test_bones_and_joints_are_drawn_where_the_landmarks_are() -> None:
    hand = make_landmarks((80, 60), 90)
    result = result_of(track_of(None, landmarks=hand))
    out = draw_landmarks(result.frame.image, result)
    changed = (out != GREY).any(axis=2)
    for x, y in hand.points_xy_px:
        assert changed[round(float(y)), round(float(x))]
    wrist_to_index = hand.points_xy_px[[0, 5]].mean(axis=0)
    assert changed[round(float(wrist_to_index[1])), round(float(wrist_to_index[0]))]
    assert not changed[:, :20].any()
    assert (result.frame.image == GREY).all()


def test_landmarks_on_a_transparent_picture_are_opaque() -> None:
    hand = make_landmarks((80, 60), 90)
    renderer = Renderer(EffectConfig(EffectKind.TRANSPARENT, landmarks=True))
    out = renderer.render(result_of(track_of(None, landmarks=hand)))
    x, y = hand.points_xy_px[8].round().astype(int)
    assert out[y, x, 3] == 255


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=42, max_size=42))
def test_landmarks_far_outside_are_no_error(values: list[float]) -> None:
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = np.array(values, np.float32).reshape(21, 2)
    result = result_of(track_of(None, landmarks=HandLandmarks(points)))
    assert draw_landmarks(result.frame.image, result).shape == (SIZE[1], SIZE[0], 3)
