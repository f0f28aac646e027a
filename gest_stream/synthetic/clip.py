"""Renders a clip, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from gest_stream.clock import now_ns
from gest_stream.errors import DeviceError
from gest_stream.synthetic.appearance import make_light, make_look
from gest_stream.synthetic.background import make_background
from gest_stream.synthetic.config import ClipConfig, EventKind
from gest_stream.synthetic.layer import Layer, blurred, compose, visible_parts
from gest_stream.synthetic.motion import HandMotion
from gest_stream.synthetic.occluder import Occluder
from gest_stream.synthetic.render import ARM, HAND, HandRenderer, RenderedHand
from gest_stream.synthetic.skeleton import make_shape
from gest_stream.synthetic.truth import HandTruth, SyntheticFrame
from gest_stream.types import Frame, Handedness, HandLandmarks, HandMask, MaskSource

Array = NDArray[np.float32]

_HANDEDNESS = (Handedness.RIGHT, Handedness.LEFT)
_NOISE_MARGIN_PX = 64
_HIDES = 0.5


def render_clip(config: ClipConfig, device: str = "cpu") -> Iterator[SyntheticFrame]:
    """Render the frames of a clip lazily, in order.

    A frame's `captured_ns` is the moment it was rendered; its pts counts frames in a time_base of 1 / rate.

    Args:
        config: What to render.
        device: Where torch computes, "cpu" or "cuda". Pictures of different devices differ by rounding.

    Raises:
        DeviceError: torch has no such device.
    """
    scene = ClipRenderer(config, device)
    return (scene.frame(seq) for seq in range(config.frames))


class ClipRenderer:
    """A clip whose frames can be rendered in any order.

    Args:
        config: What to render.
        device: Where torch computes.

    Raises:
        DeviceError: torch has no such device.
    """

    def __init__(self, config: ClipConfig, device: str = "cpu") -> None:
        _check_device(device)
        self._config = config
        # one stream of chance for each thing, so that adding one event leaves all else as it was
        streams = iter(np.random.SeedSequence(config.seed).spawn(8 + len(config.events)))
        tone_rng, light_rng, picture_rng, noise_rng = (np.random.default_rng(next(streams)) for _ in range(4))
        tones = config.tones or (float(tone_rng.uniform(1.0, 10.0)),) * config.hands
        light = make_light(light_rng, tones)
        self._background = make_background(config.size, picture_rng)
        margin = config.size[1] + _NOISE_MARGIN_PX, config.size[0] + _NOISE_MARGIN_PX, 3
        self._grain = noise_rng.standard_normal(margin, np.float32) * np.float32(config.noise)
        self._motions, self._renderers = [], []
        for index in range(config.hands):
            body, path = (np.random.default_rng(next(streams)) for _ in range(2))
            shape, look = make_shape(body), make_look(body, tones[index])
            self._motions.append(HandMotion(config, index, path))
            self._renderers.append(HandRenderer(shape, look, _HANDEDNESS[index], light, config.size, device))
        self._occluders = [
            Occluder(config, event, self._motions[event.hand], np.random.default_rng(next(streams)))
            for event in config.events
            if event.kind is EventKind.OCCLUDE
        ]

    def frame(self, seq: int) -> SyntheticFrame:
        """Frame number `seq`, from 0, and its truth."""
        config = self._config
        time_s, exposure_s = seq / config.rate, config.shutter / config.rate
        with one_thread():
            rendered = [r.render(m.at(time_s)) for r, m in zip(self._renderers, self._motions, strict=True)]
        moves = [self._move(m, time_s, exposure_s) for m in self._motions]
        hands = [blurred(r.layer, move, config.size) for r, move in zip(rendered, moves, strict=True)]
        objects = [layer for o in self._occluders if (layer := o.layer(time_s, exposure_s)) is not None]
        # the first hand is the nearest, and an object lies before all hands
        picture = compose(self._background, [*reversed(hands), *objects])
        frame = Frame(self._expose(picture, seq), seq, Fraction(1, config.rate), now_ns(), seq)
        truths = [
            self._truth(k, rendered[k], hands[k], [*objects, *hands[:k]], float(np.hypot(*moves[k])))
            for k in range(config.hands)
        ]
        return SyntheticFrame(frame, tuple(truths))

    def background(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8: the picture without hands, objects and noise."""
        return np.asarray(self._background.round(), np.uint8)

    def _move(self, motion: HandMotion, time_s: float, exposure_s: float) -> Array:
        """(2,) how far the palm moves during the exposure, pixels."""
        return motion.at(time_s + exposure_s / 2).palm_xy_px - motion.at(time_s - exposure_s / 2).palm_xy_px

    def _expose(self, picture: Array, seq: int) -> NDArray[np.uint8]:
        if self._config.noise:
            # a new place in one large noise picture is as good as new noise, and far cheaper
            rng = np.random.default_rng((self._config.seed, seq))
            y, x = rng.integers(0, _NOISE_MARGIN_PX, 2)
            picture = picture + self._grain[y : y + picture.shape[0], x : x + picture.shape[1]]
        return np.clip(picture.round(), 0, 255).astype(np.uint8)

    def _truth(
        self, index: int, hand: RenderedHand, layer: Layer, in_front: Sequence[Layer], blur_px: float
    ) -> HandTruth:
        width, height = self._config.size
        seen = visible_parts(layer, in_front)
        whole = float(layer.parts[HAND].sum())
        points = hand.landmarks_px.copy()
        points[:, 2] -= points[0, 2]
        landmarks = HandLandmarks(points, None, self._renderers[index].handedness, 1.0, 1.0)
        left, top, right, bottom = hand.box_xyxy_px
        return HandTruth(
            index=index,
            landmarks=landmarks,
            visible=hand.unhidden & _unhidden_by(in_front, points, self._config.size),
            hand_mask=_mask(seen[HAND], layer, self._config.size),
            arm_mask=_mask(seen[ARM], layer, self._config.size),
            inside_frame=left >= 0 and top >= 0 and right <= width and bottom <= height,
            shown=float(seen[HAND].sum()) / whole if whole > 1.0 else 0.0,
            blur_px=blur_px,
        )


def _mask(alpha: Array, layer: Layer, frame_size: tuple[int, int]) -> HandMask:
    full = np.zeros((frame_size[1], frame_size[0]), np.uint8)
    full[layer.slices] = (255.0 * alpha).round()
    return HandMask.from_full(full, 1.0, MaskSource.SCRIPTED)


def _unhidden_by(in_front: Sequence[Layer], points_px: Array, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """(21,) True where a landmark lies in the frame and no layer `in_front` covers it."""
    columns, rows = np.floor(points_px[:, :2]).astype(int).T
    free = (columns >= 0) & (columns < frame_size[0]) & (rows >= 0) & (rows < frame_size[1])
    for layer in in_front:
        (left, top), (height, width) = layer.origin_xy_px, layer.parts.shape[1:]
        x, y = columns - left, rows - top
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        free[within] &= layer.coverage[y[within], x[within]] < _HIDES
    return np.asarray(free)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch from sharing operations among threads meanwhile.

    They are so short (about 1 ms) that its threads wait longer than they compute: twenty times as long on a busy
    machine. With OpenMP the setting is the calling thread's own.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as exc:
        raise DeviceError(f"rendering on {device!r}: torch has no such device here; use 'cpu' or 'cuda'") from exc
