"""The tag beside a hand: its id, which hand it is and where it stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gest_stream.overlay.palette import text_colour_on, track_colour
from gest_stream.types import Handedness, Track

_LETTER_SCALE_AT_720 = 0.55


def label_text(track: Track) -> str:
    """For instance "1 right tracked"; an unknown handedness is left out."""
    hand = "" if track.handedness is Handedness.UNKNOWN else f" {track.handedness}"
    return f"{track.id}{hand} {track.state}"


def draw_label(image: NDArray[np.uint8], track: Track) -> None:
    """Write the label above the track's box (below it where there is no room), in place, kept inside the picture.

    Args:
        image: (H, W, 3) RGB uint8.
        track: A track without a box gets no label.
    """
    import cv2

    box = track.box_xyxy_px
    if box is None:
        return
    height, width = image.shape[:2]
    scale = max(0.35, _LETTER_SCALE_AT_720 * min(width, height) / 720)
    weight = 1 if scale < 1 else 2
    text = label_text(track)
    (text_width, text_height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
    margin = max(2, round(6 * scale))
    tag_width, tag_height = text_width + 2 * margin, text_height + below + 2 * margin
    left = int(np.clip(box[0], 0, max(0, width - tag_width)))
    above = box[1] - tag_height - margin
    top = int(np.clip(above if above >= 0 else box[3] + margin, 0, max(0, height - tag_height)))
    colour = track_colour(track.id)
    cv2.rectangle(image, (left, top), (left + tag_width - 1, top + tag_height - 1), colour, cv2.FILLED)
    foot = (left + margin, top + margin + text_height)
    cv2.putText(
        image, text, foot, cv2.FONT_HERSHEY_SIMPLEX, scale, text_colour_on(colour), weight, lineType=cv2.LINE_AA
    )
