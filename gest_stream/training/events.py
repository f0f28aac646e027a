"""What happens in clips that are rendered to learn from."""

from __future__ import annotations

from typing import Final

import numpy as np

from gest_stream.synthetic import Event, EventKind

_SECONDS: Final = {
    EventKind.CROSS: (1.2, 2.2),
    EventKind.OCCLUDE: (0.8, 1.6),
    EventKind.LEAVE: (1.2, 2.2),
    EventKind.SWIPE: (0.8, 1.4),
}


def kinds_for(hands: int) -> list[EventKind]:
    """What can happen to so many hands."""
    return [kind for kind in EventKind if hands == 2 or kind is not EventKind.CROSS]


def draw_event(kind: EventKind, hands: int, middle_s: float, rng: np.random.Generator) -> Event:
    """An event of that kind about `middle_s` seconds from the start of a clip, to one of its hands."""
    duration_s = float(rng.uniform(*_SECONDS[kind]))
    start_s = max(0.0, middle_s - duration_s * float(rng.uniform(0.2, 0.8)))
    return Event(kind, start_s, duration_s, hand=int(rng.integers(hands)))
