from pathlib import Path

import numpy as np
import pytest

from gest_stream.config import HandsConfig
from gest_stream.models.hands import MediaPipeHands
from gest_stream.synthetic import preset, render_clip


@pytest.mark.weights
def test_mediapipe_takes_rendered_hands_for_hands(hand_model: Path) -> None:
    found, looked_for, errors, sides = 0, 0, [], []
    with MediaPipeHands(HandsConfig(), hand_model) as detector:
        for seq, rendered in enumerate(render_clip(preset("easy"))):
            hands = detector.detect(rendered.frame)
            for truth in rendered.hands:
                looked_for += 1
                apart = [np.linalg.norm(h.points_xy_px - truth.landmarks.points_xy_px, axis=1).mean() for h in hands]
                if apart and min(apart) < 0.5 * truth.size_px:
                    found += 1
                    errors.append(min(apart) / truth.size_px)
                    sides.append(hands[int(np.argmin(apart))].handedness is truth.handedness)
            if seq == 20:
                break
    assert found >= 0.9 * looked_for
    assert np.median(errors) < 0.06
    assert np.mean(sides) > 0.9
