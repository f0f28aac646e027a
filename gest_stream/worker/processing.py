"""A host's frames, one after the other: read, track, choose, smooth, draw, write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from gest_stream.clock import now_ns
from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError
from gest_stream.exchange.peer import Job, Wishes
from gest_stream.exchange.slots import Output
from gest_stream.overlay import Renderer
from gest_stream.overlay.matte import combined, mattes_of
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, Track
from gest_stream.worker.colours import colours_of
from gest_stream.worker.pictures import copy_planes, read_rgb, write_cut_out, write_drawn
from gest_stream.worker.smoothing import MaskSmoother
from gest_stream.worker.view import HandChoice, ViewConfig, view_of

_LOG = logging.getLogger(__name__)
_TIME_BASE: Final = Fraction(1, 30)


class FrameProcessor:
    """Works on the frames of one host. Plain synchronous code, for one thread.

    Args:
        take_tracker: Called on the first frame that is looked at.
        defaults: What the host does not set.
        name: The host's, for the log.
    """

    def __init__(self, take_tracker: Callable[[], TrackerCore], defaults: ViewConfig, name: str) -> None:
        self._take_tracker = take_tracker
        self._defaults = defaults
        self._name = name
        self.tracker: TrackerCore | None = None
        """Once there was a frame to look at."""
        self._smoother = MaskSmoother()
        self._held: FrameResult | None = None
        self._held_frames = 0
        self._hello: int | None = None
        self._wishes: Wishes | None = None
        self._view = defaults
        self._renderer: Renderer | None = None
        self._drawn_by: EffectConfig | None = None

    def process(self, job: Job) -> None:
        """Fill the output of a frame.

        Raises:
            GestStreamError: The tracker or the renderer failed on it.
        """
        if job.wishes is not self._wishes:
            self._wishes, self._view = job.wishes, view_of(job.wishes, self._defaults)
        if job.hello != self._hello:
            self._start_anew(job.hello)
        if self._view.echo:
            _echo(job)
            return
        colours = colours_of(self._view, job.shape.height)
        image = read_rgb(job.input, job.shape.format, colours)
        result = self._chosen(self._tracked(Frame(image, job.count, _TIME_BASE, now_ns(), job.count)))
        if job.shape.output is Output.MASK:
            mattes = (matte for _, matte in mattes_of(result, self._view.effect.feather_px))
            np.copyto(job.output[0], combined(mattes, result.frame.size))
            return
        drawn = self._renderer_of(self._view.effect).render(result)
        if self._view.effect.kind is EffectKind.TRANSPARENT:
            write_cut_out(drawn, job.input, job.output, job.shape.format, colours)
        else:
            write_drawn(drawn, image, job.input, job.output, job.shape.format, colours)

    def reset(self) -> None:
        """Forget every hand: the stream was cut, or the tracker failed."""
        self._held = None
        self._smoother.reset()
        if self.tracker is not None:
            self.tracker.reset()

    def _start_anew(self, hello: int) -> None:
        if self._hello is not None:
            self.reset()
        self._hello = hello

    def _tracked(self, frame: Frame) -> FrameResult:
        if self._held is not None and self._held_frames + 1 < self._view.mask_every:
            self._held_frames += 1
            return replace(self._held, frame=frame)
        if self.tracker is None:
            self.tracker = self._take_tracker()
            self.tracker.set_live(True)
        self._held_frames = 0
        self._held = self.tracker.step(frame)
        return self._held

    def _chosen(self, result: FrameResult) -> FrameResult:
        """The hands that are to be seen, their masks smoothed."""
        result = self._smoother.smooth(result, self._view.smoothing)
        if self._view.hands is HandChoice.BOTH:
            return result
        return replace(result, tracks=tuple(track for track in result.tracks if self._is_shown(track)))

    def _is_shown(self, track: Track) -> bool:
        return str(track.handedness) == str(self._view.hands)

    def _renderer_of(self, effect: EffectConfig) -> Renderer:
        if self._renderer is None or effect != self._drawn_by:
            try:
                self._renderer = Renderer(effect)
            except ConfigError as exc:
                _LOG.warning("%s: %s; its background is green", self._name, exc)
                self._renderer = Renderer(replace(effect, kind=EffectKind.GREEN))
            self._drawn_by = effect
        return self._renderer


def _echo(job: Job) -> None:
    if job.shape.output is Output.MASK:
        job.output[0].fill(0)
    else:
        copy_planes(job.input, job.output)
