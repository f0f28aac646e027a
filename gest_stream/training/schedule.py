"""How fast it learns, and when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

from gest_stream.training.config import DecoderTraining

DEFAULT_EPOCHS: Final = 20.0

_LAST_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Schedule:
    """The limits of a training, and the learning rate between them: a rise, then half a cosine.

    Args:
        steps: Batches at most; infinite where only time is limited.
        seconds: Time at most.
        warm_up_steps: Of the rise.
    """

    steps: float
    seconds: float
    warm_up_steps: int

    @classmethod
    def of(cls, config: DecoderTraining, pictures: int) -> Self:
        """The schedule of settings, for a number of pictures to learn from."""

        def passes(epochs: float) -> int:
            return max(1, math.ceil(epochs * pictures / config.batch))

        steps: float | None = config.steps
        if config.epochs is not None:
            steps = min(passes(config.epochs), math.inf if steps is None else steps)
        return cls.limited(steps, config.minutes, config.warm_up_steps, passes(DEFAULT_EPOCHS))

    @classmethod
    def limited(cls, steps: float | None, minutes: float | None, warm_up_steps: int, default_steps: int) -> Self:
        """The schedule of what a user said.

        Args:
            steps: Batches at most.
            minutes: Time at most.
            warm_up_steps: Of the rise, which takes a tenth of the steps at most.
            default_steps: Where nothing was said.
        """
        if steps is None:
            steps = default_steps if minutes is None else math.inf
        rise = warm_up_steps if math.isinf(steps) else min(warm_up_steps, int(steps / 10))
        return cls(steps, math.inf if minutes is None else 60.0 * minutes, rise)

    def share_done(self, step: int, elapsed_s: float) -> float:
        """How far it is, 0 to 1; it ends at 1."""
        return min(1.0, max(step / self.steps, elapsed_s / self.seconds))

    def rate_share(self, step: int, elapsed_s: float) -> float:
        """The learning rate of step number `step`, from 0, as a share of its peak."""
        rise = min(1.0, (step + 1) / (self.warm_up_steps + 1))
        fall = 0.5 * (1.0 + math.cos(math.pi * self.share_done(step, elapsed_s)))
        return rise * (_LAST_SHARE + (1.0 - _LAST_SHARE) * fall)
