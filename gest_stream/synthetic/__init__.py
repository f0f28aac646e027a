"""Rendered hands with exact masks and landmarks."""

from gest_stream.synthetic.clip import ClipRenderer, render_clip
from gest_stream.synthetic.config import PRESETS, ClipConfig, Event, EventKind, preset
from gest_stream.synthetic.truth import HandTruth, SyntheticFrame

__all__ = [
    "PRESETS",
    "ClipConfig",
    "ClipRenderer",
    "Event",
    "EventKind",
    "HandTruth",
    "SyntheticFrame",
    "preset",
    "render_clip",
]
