"""Colours that stay apart for colour-blind eyes. Source: M. Okabe and K. Ito, "Color Universal Design" (2002)."""

from __future__ import annotations

from typing import TypeAlias

Colour: TypeAlias = tuple[int, int, int]
"""RGB, 0 to 255."""

GREEN_SCREEN: Colour = (0, 177, 64)
"""The usual chroma key green."""

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)

_TRACKS: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
)

FINGERS: tuple[Colour, ...] = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167))
"""Thumb, index, middle, ring, pinky."""

PALM: Colour = (235, 235, 235)


def track_colour(track_id: int) -> Colour:
    """The colour of a track, the same on every frame; seven ids in a row all differ."""
    return _TRACKS[(track_id - 1) % len(_TRACKS)]


def text_colour_on(background: Colour) -> Colour:
    """Black or white, whichever reads better on `background` (luma of ITU-R BT.601)."""
    red, green, blue = background
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else WHITE
