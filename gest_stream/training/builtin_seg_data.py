"""What hand-seg learns from: the frames of wide clips, decoded once and kept as small as the network sees them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.models.hand_seg_net import CELL_PX, CLASSES, INPUT_PX, fit_frame
from gest_stream.training.augment import augment, relight
from gest_stream.training.config import AugmentConfig
from gest_stream.training.labels import BACKGROUND, FOREARM, HAND, IGNORE, LabelledImage
from gest_stream.training.ordered import in_order
from gest_stream.training.targets import class_shares
from gest_stream.training.wide_clips import ClipKind, WideClip, held_out_paths, training_paths

if TYPE_CHECKING:
    import torch

SHARES: Final[Mapping[ClipKind, float]] = {
    ClipKind.RENDERED: 0.45,
    ClipKind.COMPOSITED: 0.3,
    ClipKind.REAL: 0.3,
    ClipKind.EMPTY: 0.35,
}
"""Of the pictures of a batch, on average and in proportion to each other; what is not there is left to the others."""

_WITH_ARMS: Final = (ClipKind.RENDERED, ClipKind.COMPOSITED)

AUGMENT: Final = AugmentConfig(zoom=1.7, turn_deg=15.0, light=0.3, tint=0.08, blur=0.05, noise=0.08, jpeg=0.08)
"""Blur, noise and compression little: clips have gone through a camera of their own. Zoom makes small hands of large
ones, which the network finds worst."""

PASTE: Final = 0.3
"""Chance that the hands and forearms of another picture are pasted over one (Ghiasi et al. 2021, simple copy-paste):
hands that were rendered for seconds so meet more backgrounds, and other hands, than were rendered."""
RELIT: Final = 0.25
"""Chance that the own hands and forearms of a picture over which none are pasted, and whose forearms are labelled, are
seen in another light than what they lie before."""
OWN_LIGHT: Final = AugmentConfig(light=0.3, tint=0.08)
"""What changes hands that are pasted over their own picture; only light and tint."""

_CANVASES: Final = ((INPUT_PX, 192), (INPUT_PX, 144), (INPUT_PX, INPUT_PX), (192, INPUT_PX), (144, INPUT_PX))
"""(width, height) of the pictures of a step: 4:3, 16:9, 1:1, and upright as phones record."""
_CANVAS_SHARES: Final = (0.3, 0.35, 0.1, 0.1, 0.15)
SMALL: Final = 0.625
"""How large pictures are in the first part of a training, which is 2.5 times as quick then."""

_CANVAS_STREAM: Final = 1 << 20
"""Beyond any slot of a batch."""

_AHEAD_BATCHES: Final = 2
_OPAQUE: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class SegPicture:
    """A frame as the network sees it.

    Args:
        picture: At most 256 pixels wide and high.
        arms_labelled: Where its labels say background, there is no forearm either.
    """

    picture: LabelledImage
    arms_labelled: bool


@dataclass(frozen=True, slots=True, eq=False)
class SegBatch:
    """What one step learns from.

    Args:
        images: (B, H, W, 3) uint8 RGB, sides multiples of 32.
        shares: (B, 4, H/2, W/2) uint8, from `targets.class_shares`.
    """

    images: torch.Tensor
    shares: torch.Tensor


@dataclass(slots=True)
class SegPictures:
    """Frames by where they come from.

    Args:
        by_kind: They only become more; one thread may add some while others draw.
        clips: The files that were read.
    """

    by_kind: dict[ClipKind, list[SegPicture]] = field(default_factory=dict)
    clips: set[Path] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(map(len, self.by_kind.values()))

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by kind."""
        return {str(kind): len(pictures) for kind, pictures in self.by_kind.items()}

    def draw(self, rng: np.random.Generator, cut_out: bool = False) -> SegPicture:
        """One of them, its kind with the chance of `SHARES`; to be cut out, one whose forearms are labelled."""
        there = list(self.by_kind)
        kinds = [kind for kind in there if not cut_out or kind in _WITH_ARMS] or there
        shares = np.array([SHARES[kind] for kind in kinds])
        pictures = self.by_kind[kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]]
        return pictures[int(rng.integers(len(pictures)))]

    def read(
        self,
        paths: Sequence[tuple[ClipKind, Path]],
        frames: Sequence[int] | None,
        threads: int,
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        """Add the frames of those clips that were not read yet.

        Args:
            paths: Clips and their kinds.
            frames: Which of their frames; None is all.
            threads: That decode.
            tell: Is told how many clips of how many are done.

        Raises:
            InvalidInputError: A clip is damaged.
        """
        new = [one for one in paths if one[1] not in self.clips]

        def decode(one: tuple[ClipKind, Path]) -> list[SegPicture]:
            return pictures_of(WideClip.load(one[1], frames))

        with closing(in_order(decode, new, threads, 4 * threads)) as decoded:
            for done, ((kind, path), pictures) in enumerate(zip(new, decoded, strict=True), 1):
                if kind in self.by_kind:
                    self.by_kind[kind].extend(pictures)
                else:
                    self.by_kind[kind] = pictures
                self.clips.add(path)
                if tell is not None:
                    tell(done, len(new))


def training_clips(root: Path) -> list[tuple[ClipKind, Path]]:
    """The clips to train on that are there so far."""
    return [(kind, path) for kind in ClipKind for path in training_paths(root, kind)]


def load_training_pictures(root: Path, threads: int, tell: Callable[[int, int], None]) -> SegPictures:
    """All frames of all clips to train on that are there; of 30,000 about 6 GB.

    Args:
        root: Folder of the kinds.
        threads: That decode.
        tell: Is told how many clips of how many are done.

    Raises:
        InvalidInputError: There are none, or a clip is damaged.
    """
    paths, pictures = training_clips(root), SegPictures()
    if not paths:
        raise InvalidInputError(
            f"{root}: holds no clips to train on (rendered/clip_000000.npz, …); make them with "
            "'python -m gest_stream.training.wide_data', or name their folder with --data"
        )
    pictures.read(paths, None, threads, tell)
    return pictures


def load_held_out_pictures(root: Path, limit: int, threads: int) -> SegPictures:
    """One frame of each of up to `limit` held-out clips, as many of each kind, evenly spaced."""
    paths: list[tuple[ClipKind, Path]] = []
    for kind in ClipKind:
        there = held_out_paths(root, kind)
        wanted = min(len(there), -(-limit // len(ClipKind)))
        paths += [(kind, there[k * len(there) // wanted]) for k in range(wanted)]
    pictures = SegPictures()
    pictures.read(paths, (0,), threads)
    return pictures


def pictures_of(clip: WideClip) -> list[SegPicture]:
    """The frames of a clip."""
    import cv2

    (width, height), _ = fit_frame(clip.size)
    arms_labelled = clip.kind is not ClipKind.REAL  # of pseudo labels, forearms are not known
    pictures = []
    for k in range(len(clip)):
        hand = clip.hands[k].max(axis=0, initial=0)
        small = [
            cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
            for plane in (clip.images[k], hand, clip.arms[k], clip.void[k].astype(np.uint8) * np.uint8(255))
        ]
        labels = np.full((height, width), BACKGROUND, np.uint8)
        labels[small[2] >= _OPAQUE] = FOREARM
        labels[small[1] >= _OPAQUE] = HAND
        labels[small[3] >= _OPAQUE] = IGNORE
        pictures.append(SegPicture(LabelledImage(np.asarray(small[0], np.uint8), labels), arms_labelled))
    return pictures


def batches(
    pictures: SegPictures, seed: int, batch: int, first: int, threads: int, small_until: int = 0
) -> Generator[SegBatch, None, None]:
    """Batches without end; what is in them follows from the pictures, the seed and the step alone.

    Args:
        pictures: What is drawn from.
        seed: Of all that is drawn.
        batch: Pictures a step.
        first: Number of the step that the first batch is for.
        threads: That change pictures, ahead of their use.
        small_until: Up to this step pictures are smaller than the network gets them later.
    """
    import torch

    def changed(place: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        step, slot = place
        rng = np.random.default_rng((seed, step, slot))
        canvas = _canvas_of(seed, step, SMALL if step < small_until else 1.0)
        drawn = pictures.draw(rng)
        moved = augment(drawn.picture, canvas, rng, AUGMENT)
        if rng.random() < PASTE:
            over = pictures.draw(rng, cut_out=True)
            if over.arms_labelled:
                moved = pasted(moved, augment(over.picture, canvas, rng, AUGMENT))
        elif drawn.arms_labelled and rng.random() < RELIT:
            moved = pasted(moved, LabelledImage(relight(moved.image, rng, OWN_LIGHT), moved.labels))
        return network_input(SegPicture(moved, drawn.arms_labelled))

    places = ((step, slot) for step in count(first) for slot in range(batch))
    with closing(in_order(changed, places, threads, _AHEAD_BATCHES * batch)) as coming:
        while True:
            images, shares = (np.stack(planes) for planes in zip(*(next(coming) for _ in range(batch)), strict=True))
            yield SegBatch(torch.from_numpy(images), torch.from_numpy(shares))


def pasted(below: LabelledImage, above: LabelledImage) -> LabelledImage:
    """The hands and forearms of `above`, with an edge a pixel soft, over a picture of the same size."""
    import cv2

    cut = (above.labels == HAND) | (above.labels == FOREARM)
    alpha = np.asarray(cv2.blur(cut.astype(np.float32), (3, 3)), np.float32)[..., None]
    image = below.image + alpha * (above.image.astype(np.float32) - below.image)
    return LabelledImage(image.round().astype(np.uint8), np.where(cut, above.labels, below.labels))


def network_input(seen: SegPicture) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture with black at its right and bottom, as the network gets frames; and what it is to say of it.

    Returns:
        (H, W, 3) uint8 and (4, H/2, W/2) uint8 from `targets.class_shares`; nothing is known of the black.
    """
    width, height = seen.picture.size
    _, padded = fit_frame((width, height), max(width, height))
    beyond = (0, padded[1] - height), (0, padded[0] - width)
    image = np.pad(seen.picture.image, (*beyond, (0, 0)))
    labels = np.pad(seen.picture.labels, beyond, constant_values=IGNORE)
    grid = padded[0] // CELL_PX, padded[1] // CELL_PX
    return image, class_shares(labels, grid, "forearm" in CLASSES, seen.arms_labelled)


def _canvas_of(seed: int, step: int, scale: float) -> tuple[int, int]:
    """(width, height) of the pictures of a step, whole cells."""
    rng = np.random.default_rng((seed, step, _CANVAS_STREAM))
    width, height = _CANVASES[int(rng.choice(len(_CANVASES), p=_CANVAS_SHARES))]
    return round(scale * width / CELL_PX) * CELL_PX, round(scale * height / CELL_PX) * CELL_PX
