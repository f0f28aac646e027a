"""How often the pixels of a frame are written anew on their way from the decoder to the encoder.

What remains, of a 720p frame with the effect overlay: the scaler writes RGB (needed: the models take RGB), MediaPipe's
`Image` copies it (its C interface takes no memory of others), the renderer copies it to draw on (the frame is shared),
the scaler writes YUV for the encoder. Rings and queues hand over references.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from gest_stream.config import EffectConfig, LightConfig
from gest_stream.models.light import LightSegmenter
from gest_stream.overlay import Renderer
from gest_stream.sinks.frame_memory import as_video_frame
from gest_stream.sources.picture import RgbConverter
from gest_stream.testing import make_landmarks
from gest_stream.types import Frame, FrameResult, Handedness, Observation, Track, TrackState

_SIZE = (1280, 720)


def frames_allocated(work: Callable[[], Any], frame_bytes: int) -> float:
    """Most memory that NumPy and OpenCV held anew while `work` ran, in frames."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return round((peak - before) / frame_bytes, 3)


def count() -> dict[str, Any]:
    """What each stage does with the pixels of one 720p frame with two hands; copies are told by memory addresses."""
    import av

    decoded = av.VideoFrame(*_SIZE, "yuv420p")
    converter = RgbConverter()
    image = converter.convert(decoded)
    hands = [make_landmarks((x, 360.0), size_px=220) for x in (400.0, 880.0)]
    frame = Frame(image, 0, Fraction(1, 30), 0)
    observations = [Observation(index + 1, hand) for index, hand in enumerate(hands)]
    segmenter, renderer = LightSegmenter(LightConfig()), Renderer(EffectConfig())
    masks = segmenter.step(segmenter.encode(frame), observations)
    tracks = tuple(
        Track(o.object_id, TrackState.TRACKED, Handedness.RIGHT, 1.0, o.landmarks, masks[o.object_id])
        for o in observations
    )
    result = FrameResult(frame, tracks)
    drawn = renderer.render(result)
    return {
        "frame_bytes": image.nbytes,
        "converter_copies_the_scalers_picture": image.base is None,
        "mediapipe_copies": _mediapipe_copies(frame),
        "light_allocates_frames": frames_allocated(
            lambda: segmenter.step(segmenter.encode(frame), observations), image.nbytes
        ),
        "renderer_allocates_frames": frames_allocated(lambda: renderer.render(result), image.nbytes),
        "encoder_copies_the_drawn_picture": as_video_frame(drawn).planes[0].buffer_ptr != drawn.ctypes.data,
    }


def _mediapipe_copies(frame: Frame) -> bool | None:
    """None without mediapipe."""
    try:
        import mediapipe
    except ImportError:
        return None
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame.image)
    return not np.shares_memory(image.numpy_view(), frame.image)
