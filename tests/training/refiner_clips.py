"""Clips for the refiner's tests: drawn hands that move over a speckled ground, and rendered ones."""

from __future__ import annotations

import numpy as np

from gest_stream.models.crop_window import CropWindow
from gest_stream.models.hand_shape import HandShape, ShapeModel
from gest_stream.synthetic import ClipConfig, Event, EventKind, render_clip
from gest_stream.testing import make_landmarks
from gest_stream.training.wide_clips import ClipKind, WideClip
from gest_stream.types import HandLandmarks

SIZE = (160, 120)


def drawn_clip(
    seed: int = 0, frames: int = 6, hands: int = 1, kind: ClipKind = ClipKind.RENDERED, gone: tuple[int, ...] = ()
) -> WideClip:
    """Hands as their landmarks promise them, skin-coloured; on the frames `gone` the first one is not there."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    window = CropWindow(0, 0, *SIZE, SIZE)
    images = np.repeat(ground[None], frames, axis=0)
    masks = np.zeros((frames, hands, SIZE[1], SIZE[0]), np.uint8)
    landmarks = np.zeros((frames, hands, 21, 2), np.float32)
    shown = np.ones((frames, hands), np.float32)
    starts = [(45 + 65 * k, 60) for k in range(hands)]
    for frame in range(frames):
        for k, (x, y) in enumerate(starts):
            points = make_landmarks((x + 2 * frame, y), 60).points_px
            landmarks[frame, k] = points[:, :2]
            if k == 0 and frame in gone:
                shown[frame, k] = 0.0
                continue
            masks[frame, k] = HandShape.from_landmarks(HandLandmarks(points), ShapeModel()).draw(window)
            images[frame][masks[frame, k] > 0] = (210, 160, 130)
    nothing = np.zeros((frames, SIZE[1], SIZE[0]), np.uint8)
    return WideClip(images, masks, nothing, nothing.astype(bool), landmarks, shown, kind)


def rendered_wide_clip(seed: int) -> WideClip:
    """Six rendered frames, a tenth of a second apart; two hands cross, or one is hidden for a moment."""
    hands = 1 + seed % 2
    event = Event(EventKind.CROSS, 0.0, 0.9) if hands == 2 else Event(EventKind.OCCLUDE, 0.0, 0.6)
    clip = list(render_clip(ClipConfig((240, 180), 6, 10, hands, seed, (event,))))
    return WideClip(
        np.stack([one.frame.image for one in clip]),
        np.stack([[hand.hand_mask.full() for hand in one.hands] for one in clip]),
        np.stack([np.max([hand.arm_mask.full() for hand in one.hands], axis=0) for one in clip]),
        np.zeros((6, 180, 240), bool),
        np.stack([[hand.landmarks.points_xy_px for hand in one.hands] for one in clip]).astype(np.float32),
        np.array([[hand.shown for hand in one.hands] for one in clip], np.float32),
        ClipKind.RENDERED,
    )
