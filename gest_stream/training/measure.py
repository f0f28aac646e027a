"""Intersection over union on the pictures that were kept back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.models.dino_decoder import fit_to_input, normalise
from gest_stream.training.data import Pick
from gest_stream.training.labels import FOREARM, HAND, IGNORE
from gest_stream.training.ordered import in_order

if TYPE_CHECKING:
    from gest_stream.models.dino_decoder import HandNet

_LABEL_OF = {"hand": HAND, "forearm": FOREARM}


def measure(
    net: HandNet,
    picks: Sequence[Pick],
    device: torch.device,
    batch: int,
    threads: int,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """How well a network knows hands and forearms.

    Pictures are fitted to the network as frames are later, and pixels are counted at that size, over all pictures.
    Forearms are judged on sets where they are labelled, and nothing is where it is not known.

    Args:
        net: In any mode; it comes back in the same.
        picks: The pictures.
        device: Where the network is.
        batch: Pictures at a time; they are of one shape.
        threads: That load them.
        on_progress: Is told how many are done.

    Returns:
        Intersection over union by class; a class that no picture has a pixel of is absent.
    """
    fits = [fit_to_input(pick.seen.size, net.spec.input_size) for pick in picks]
    order = sorted(range(len(picks)), key=lambda k: fits[k][1])
    counts = {name: _Counts() for name in net.spec.classes}
    mode, done = net.training, 0
    net.eval()

    def load(k: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return _fitted(picks[k], *fits[k])

    with closing(in_order(load, order, threads, 2 * batch)) as loaded, torch.no_grad():
        for chunk in _chunks(order, [fits[k][1] for k in order], batch):
            pictures = [next(loaded) for _ in chunk]
            images = torch.from_numpy(np.stack([image for image, _ in pictures])).to(device)
            logits = F.interpolate(net(normalise(images)).float(), size=images.shape[1:3], mode="bilinear")
            answers = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
            for k, answer, (_, labels) in zip(chunk, answers, pictures, strict=True):
                for channel, (name, own) in enumerate(counts.items(), 1):
                    if name != "forearm" or picks[k].part.forearms_labelled:
                        own.add((answer == channel) & (labels != IGNORE), labels == _LABEL_OF[name])
            done += len(chunk)
            if on_progress is not None:
                on_progress(done)
    net.train(mode)
    return {name: own.common / own.either for name, own in counts.items() if own.truth}


@dataclass(slots=True)
class _Counts:
    """Pixels of one class."""

    common: int = 0
    either: int = 0
    truth: int = 0

    def add(self, said: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        self.common += int((said & truth).sum())
        self.either += int((said | truth).sum())
        self.truth += int(truth.sum())


def _fitted(
    pick: Pick, resized: tuple[int, int], padded: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and its labels as large as the network's input; what is added is not known."""
    import cv2

    picture = pick.load()
    way = cv2.INTER_AREA if resized[0] < picture.size[0] else cv2.INTER_LINEAR
    image = np.zeros((padded[1], padded[0], 3), np.uint8)
    image[: resized[1], : resized[0]] = cv2.resize(picture.image, resized, interpolation=way)
    labels = np.full((padded[1], padded[0]), IGNORE, np.uint8)
    labels[: resized[1], : resized[0]] = cv2.resize(picture.labels, resized, interpolation=cv2.INTER_NEAREST)
    return image, labels


def _chunks(order: Sequence[int], shapes: Sequence[tuple[int, int]], batch: int) -> Iterator[list[int]]:
    for _, same in groupby(zip(order, shapes, strict=True), key=lambda one: one[1]):
        numbers = [k for k, _ in same]
        yield from (numbers[start : start + batch] for start in range(0, len(numbers), batch))
