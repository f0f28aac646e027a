"""Drawing: masks, landmarks, labels and background effects."""

from gest_stream.overlay.landmarks import draw_landmarks
from gest_stream.overlay.palette import track_colour
from gest_stream.overlay.renderer import Renderer

__all__ = ["Renderer", "draw_landmarks", "track_colour"]
