"""Which pictures are kept back to measure with: by the hash of a name, so that it is the same ones every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gest_stream.training.labels import LabelledSet


def hash_share(name: str) -> float:
    """A number from 0 to 1 that follows from `name` alone, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def split_indices(pictures: LabelledSet, share: float) -> tuple[list[int], list[int]]:
    """The pictures to learn from and those kept back; a group is never split.

    Whether a group is kept back depends on its own name alone, so that a set may grow without pictures changing sides.
    Only where that leaves one side without any, the group with the smallest hash is kept back, or the one with the
    largest is learnt from.

    Args:
        pictures: A set.
        share: Of the groups that are kept back, about.

    Returns:
        Two lists of numbers of pictures, ascending; the second is empty where there is one group only.
    """
    groups = [pictures.group(index) for index in range(len(pictures))]
    kept = _kept_groups(set(groups), share)
    learnt = [index for index, group in enumerate(groups) if group not in kept]
    return learnt, [index for index, group in enumerate(groups) if group in kept]


def _kept_groups(groups: Iterable[str], share: float) -> set[str]:
    ordered = sorted(groups, key=lambda group: (hash_share(group), group))
    if len(ordered) < 2:
        return set()
    count = sum(hash_share(group) < share for group in ordered)
    return set(ordered[: min(max(count, 1), len(ordered) - 1)])
