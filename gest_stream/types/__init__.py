"""Frozen data types that cross the borders between rooms."""

from gest_stream.types.audio import AudioFormat, AudioPacket
from gest_stream.types.frame import Frame
from gest_stream.types.hand import HAND_CONNECTIONS, LANDMARK_NAMES, Handedness, HandLandmarks
from gest_stream.types.mask import HandMask, MaskSource
from gest_stream.types.probability import HandProbability
from gest_stream.types.prompt import Observation, Prompt, PromptMode
from gest_stream.types.track import FrameResult, Reinitialisation, ReinitialisedBy, Track, TrackState

__all__ = [
    "HAND_CONNECTIONS",
    "LANDMARK_NAMES",
    "AudioFormat",
    "AudioPacket",
    "Frame",
    "FrameResult",
    "HandLandmarks",
    "HandMask",
    "HandProbability",
    "Handedness",
    "MaskSource",
    "Observation",
    "Prompt",
    "PromptMode",
    "Reinitialisation",
    "ReinitialisedBy",
    "Track",
    "TrackState",
]
