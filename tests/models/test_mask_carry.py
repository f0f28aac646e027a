"""Masks carried from frame to frame by landmarks or flow."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from gest_stream.config import LightConfig
from gest_stream.models.landmark_warp import Similarity
from gest_stream.models.light import LightSegmenter
from gest_stream.models.mask_alpha import alpha_mask
from gest_stream.models.mask_carry import MaskCarrier, Outline
from gest_stream.testing import make_landmarks
from gest_stream.types import Frame, HandLandmarks, HandMask, MaskSource, Observation

SIZE = (480, 320)


def frame_of(image: NDArray[np.uint8], seq: int = 0) -> Frame:
    return Frame(image, seq, Fraction(1, 30), 0, seq)


def shape_of(landmarks: HandLandmarks) -> HandMask:
    """What the light segmenter makes of landmarks on a grey picture."""
    light, frame = LightSegmenter(LightConfig()), frame_of(np.full((SIZE[1], SIZE[0], 3), 128, np.uint8))
    return light.step(light.encode(frame), [Observation(1, landmarks)])[1]


def scene(mask: HandMask) -> Frame:
    """A speckled hand, whose speckles move along, over a speckled ground."""
    rng = np.random.default_rng(7)
    speckle = cv2.GaussianBlur(rng.normal(0, 90, (SIZE[1], SIZE[0])).astype(np.float32), (0, 0), 2.0)[..., None]
    ground = np.array([60, 80, 150], np.float32) + speckle
    x, y = mask.origin_xy_px
    skin = np.array([205, 150, 125], np.float32) + np.roll(speckle, (y, x), axis=(0, 1))
    image = np.where(mask.full()[..., None] >= 128, skin, ground)
    return frame_of(np.clip(image, 0, 255).astype(np.uint8))


def shifted(mask: HandMask, x: int, y: int) -> HandMask:
    origin = (mask.origin_xy_px[0] + x, mask.origin_xy_px[1] + y)
    return HandMask(mask.crop, origin, SIZE, mask.score, mask.source)


def mask_of(outline: Outline | None) -> HandMask:
    assert outline is not None
    return alpha_mask(outline.odds, outline.window, SIZE, 1.0, MaskSource.CARRIED)


def with_thumb_cut_off(mask: HandMask, landmarks: HandLandmarks) -> HandMask:
    """The mask without the outer half of the thumb: something that no landmark tells."""
    alpha = mask.full()
    x, y = landmarks.points_xy_px[4]
    cv2.circle(alpha, (round(float(x)), round(float(y))), 16, 0, -1)
    return HandMask.from_full(alpha, 1.0, MaskSource.SCRIPTED)


def test_landmarks_carry_a_mask_to_where_the_hand_is() -> None:
    then, now = make_landmarks((120, 160), 140), make_landmarks((330, 150), 140)
    before, after = shape_of(then), shape_of(now)
    carrier = MaskCarrier()
    for briefly in (False, True):
        anchor = carrier.anchor(scene(before), before, then, briefly)
        assert anchor is not None
        carried = mask_of(carrier.carry(anchor, scene(after), now, Similarity()))
        assert carried.iou(after) > 0.93
    assert before.iou(after) < 0.1


def test_what_the_mask_told_beyond_the_landmarks_is_carried_along() -> None:
    then, now = make_landmarks((140, 160), 140), make_landmarks((330, 150), 140)
    before, after = with_thumb_cut_off(shape_of(then), then), with_thumb_cut_off(shape_of(now), now)
    carrier = MaskCarrier()
    anchor = carrier.anchor(scene(before), before, then)
    assert anchor is not None
    carried = mask_of(carrier.carry(anchor, scene(after), now, Similarity()))
    column, row = now.points_xy_px[4].round().astype(int)
    assert carried.full()[row, column] < 128
    assert shape_of(now).full()[row, column] >= 128


def test_without_landmarks_the_picture_says_where_the_hand_went() -> None:
    landmarks = make_landmarks((150, 160), 140)
    before = shape_of(landmarks)
    after = shifted(before, 24, 6)
    carrier = MaskCarrier()
    anchor = carrier.anchor(scene(before), before, None)
    assert anchor is not None
    outline = carrier.carry(anchor, scene(after), None, Similarity(1, 20 + 4j))  # 4 and 2 pixels short of the truth
    assert outline is not None and outline.followed > 0.8
    assert mask_of(outline).iou(after) > 0.93


def test_the_picture_of_a_mask_tells_how_it_moved() -> None:
    before = shape_of(make_landmarks((150, 160), 140))
    motion = MaskCarrier().follow(before, scene(before), scene(shifted(before, 6, -4)))
    assert motion is not None
    assert np.allclose(motion.move(np.array([[150, 160]], np.float32)), [[156, 156]], atol=1.0)


def test_a_picture_that_became_another_one_confirms_little() -> None:
    before = shape_of(make_landmarks((150, 160), 140))
    carrier = MaskCarrier()
    anchor = carrier.anchor(scene(before), before, None)
    assert anchor is not None
    noise = np.random.default_rng(3).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    outline = carrier.carry(anchor, frame_of(noise), None, Similarity())
    assert outline is None or outline.followed < 0.4


def test_an_empty_mask_cannot_be_carried() -> None:
    empty = HandMask(np.zeros((0, 0), np.uint8), (0, 0), SIZE, 0.0, MaskSource.SCRIPTED)
    frame = frame_of(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    assert MaskCarrier().anchor(frame, empty, None) is None
    assert MaskCarrier().follow(empty, frame, frame) is None


def test_a_hand_that_left_the_frame_has_no_outline() -> None:
    landmarks = make_landmarks((150, 160), 140)
    before = shape_of(landmarks)
    carrier = MaskCarrier()
    for then, now in ((landmarks, make_landmarks((1500, 160), 140)), (None, None)):
        anchor = carrier.anchor(scene(before), before, then)
        assert anchor is not None
        assert carrier.carry(anchor, scene(before), now, Similarity(1, 1350 + 0j)) is None


def test_a_blend_lies_between_two_outlines() -> None:
    carrier = MaskCarrier()
    before = shape_of(make_landmarks((150, 160), 140))
    outlines = []
    for x in (0, 12):
        mask = shifted(before, x, 0)
        anchor = carrier.anchor(scene(mask), mask, None)
        assert anchor is not None
        outlines.append(carrier.carry(anchor, scene(mask), None, Similarity()))
    older, newer = outlines
    assert older is not None and newer is not None
    areas = [mask_of(newer.blended(older, share)).box_xyxy_px for share in (0.01, 0.5, 0.99)]
    lefts = [box[0] for box in areas if box is not None]
    assert lefts == sorted(lefts) and lefts[0] + 2 < lefts[1] < lefts[2] - 2
