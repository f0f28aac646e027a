"""COCO JSON: polygons and run lengths of the categories that are hands and forearms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.sinks.mask_rle import decode_rle
from gest_stream.training.labels import FOREARM, HAND, IGNORE, LabelledImage, read_picture


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    path: Path
    size: tuple[int, int]
    outlines: tuple[tuple[int, Any], ...]
    """(label, segmentation), those drawn last lie on top."""


class CocoSet:
    """The pictures of a COCO file; those without an annotation show no hand.

    Where hand and forearm overlap, the hand lies on top. Crowds (`iscrowd`) are not known.

    Args:
        path: The JSON file.
        images: Folder of the pictures; None looks beside the file and in images/ beside it.
        hands: Names of the categories that are hands; upper and lower case are alike.
        forearms: Likewise.

    Raises:
        InvalidInputError: The file is no COCO file, no category is a hand, or a picture is absent.
    """

    def __init__(
        self,
        path: Path,
        images: Path | None = None,
        hands: Sequence[str] = ("hand",),
        forearms: Sequence[str] = ("forearm",),
    ) -> None:
        self._path = path
        content = _read(path)
        try:
            classes = _classes(path, content["categories"], hands, forearms)
            outlines = _outlines(path, content["annotations"], classes)
            folders = (images,) if images is not None else (path.parent, path.parent / "images")
            self._pictures = [
                _Picture(
                    _find(str(entry["file_name"]), folders),
                    (int(entry["width"]), int(entry["height"])),
                    tuple(sorted(outlines.pop(entry["id"], ()), key=lambda one: -one[0])),
                )
                for entry in content["images"]
            ]
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise InvalidInputError(f"{path}: an entry is not built as COCO's are ({exc!r})") from exc
        if outlines:
            raise InvalidInputError(
                f"{path}: has annotations of the picture {next(iter(outlines))!r}, but no such picture"
            )
        self._check_pictures()

    def _check_pictures(self) -> None:
        if not self._pictures:
            raise InvalidInputError(f"{self._path}: lists no pictures")
        absent = [picture.path for picture in self._pictures if not picture.path.is_file()]
        if absent:
            raise InvalidInputError(
                f"{absent[0]}: is absent, and so are {len(absent)} of the {len(self._pictures)} pictures of "
                f"{self._path}; say where they lie with --images FOLDER"
            )

    @property
    def title(self) -> str:
        """What the user calls it."""
        return f"coco:{self._path}"

    def __len__(self) -> int:
        return len(self._pictures)

    def group(self, index: int) -> str:
        """The picture itself."""
        return self._pictures[index].path.name

    def load(self, index: int) -> LabelledImage:
        """The picture of that number, its outlines filled.

        Raises:
            InvalidInputError: It cannot be read or has another size than the file says, or an outline is damaged.
        """
        picture = self._pictures[index]
        image = read_picture(picture.path)
        width, height = picture.size
        if image.shape[:2] != (height, width):
            raise InvalidInputError(
                f"{picture.path}: is {image.shape[1]}x{image.shape[0]} pixels, but {self._path} says {width}x{height}; "
                "annotate the picture as it is"
            )
        labels = np.zeros((height, width), np.uint8)
        for label, segmentation in picture.outlines:
            try:
                labels[_fill(segmentation, height, width)] = label
            except Exception as exc:  # pycocotools meets damage with whatever Python or C raises
                raise InvalidInputError(
                    f"{self._path}: an outline of {picture.path.name} cannot be drawn ({exc!r}); "
                    "a segmentation is a list of polygons, or {'size': [h, w], 'counts': …}"
                ) from exc
        return LabelledImage(image, labels)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as exc:
        raise InvalidInputError(f"{path}: cannot be read ({exc.strerror}); check the path") from exc
    except ValueError as exc:
        raise InvalidInputError(f"{path}: is not a JSON file ({exc})") from exc
    wanted = ("images", "annotations", "categories")
    absent = [name for name in wanted if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if absent:
        raise InvalidInputError(f"{path}: is no COCO file: it has no list {', '.join(absent)}")
    found: Mapping[str, Any] = content
    return found


def _classes(path: Path, categories: list[Any], hands: Sequence[str], forearms: Sequence[str]) -> dict[Any, int]:
    """From a category's id to its label."""
    wanted = {name.casefold(): FOREARM for name in forearms} | {name.casefold(): HAND for name in hands}
    names = {entry["id"]: str(entry["name"]) for entry in categories}
    classes = {one: wanted[name.casefold()] for one, name in names.items() if name.casefold() in wanted}
    if HAND not in classes.values():
        listed = ", ".join(sorted(names.values())) or "none"
        raise InvalidInputError(
            f"{path}: no category is called {' or '.join(hands)}; it has {listed}; name those that are hands: "
            "--coco-hand NAME"
        )
    return classes


def _outlines(path: Path, annotations: list[Any], classes: Mapping[Any, int]) -> dict[Any, list[tuple[int, Any]]]:
    """The outlines of hands and forearms by the id of their picture."""
    found: dict[Any, list[tuple[int, Any]]] = {}
    for entry in annotations:
        label = classes.get(entry["category_id"])
        if label is None:
            continue
        segmentation = entry.get("segmentation")
        if not segmentation:
            raise InvalidInputError(
                f"{path}: annotation {entry.get('id')!r} has a box and no outline; segmentation masks are needed"
            )
        found.setdefault(entry["image_id"], []).append((IGNORE if entry.get("iscrowd") else label, segmentation))
    return found


def _find(name: str, folders: Sequence[Path]) -> Path:
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[-1] / name)


def _fill(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) True inside a segmentation."""
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, list):
        runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        runs = coco_mask.frPyObjects(segmentation, *segmentation["size"])
    else:
        runs = segmentation
    counts = runs["counts"]
    # not pycocotools' own: it warns under NumPy 2
    inside = decode_rle({**runs, "counts": counts if isinstance(counts, str) else counts.decode("ascii")})
    if inside.shape != (height, width):
        raise ValueError(f"its run lengths are of {inside.shape[1]}x{inside.shape[0]} pixels")
    return inside
