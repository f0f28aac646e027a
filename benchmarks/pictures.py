"""Draws the README's pictures from the rendered demo clip: `python -m benchmarks.pictures`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import gest_stream as gs
from benchmarks.report import ROOT
from gest_stream.synthetic import preset
from gest_stream.synthetic.workers import render_in_processes

PICTURES = ROOT / "benchmarks" / "pictures"
EFFECT_FRAME = 3
TILE = (400, 300)
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]

Picture = np.ndarray[Any, np.dtype[np.uint8]]


def tile(picture: Picture, caption: str = "") -> Picture:
    """A small copy with a caption in its corner."""
    small = np.ascontiguousarray(cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA), np.uint8)
    if caption:
        cv2.rectangle(small, (0, TILE[1] - 24), (110, TILE[1]), (0, 0, 0), -1)
        cv2.putText(small, caption, (6, TILE[1] - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return small


def on_chequers(rgba: Picture) -> Picture:
    """What is transparent shows a chequered ground."""
    rows, columns = np.mgrid[0 : rgba.shape[0], 0 : rgba.shape[1]] // 20
    ground = np.where((rows + columns) % 2 == 0, 255, 205)[..., None]
    alpha = rgba[..., 3:] / 255.0
    return np.asarray(rgba[..., :3] * alpha + ground * (1 - alpha), np.uint8)


def striped_wall(path: Path, size: tuple[int, int]) -> None:
    """A background to put hands on."""
    wall = np.full((size[1], size[0], 3), (210, 190, 120), np.uint8)
    for x in range(0, size[0] + 200, 60):
        cv2.line(wall, (x, 0), (x - 200, size[1]), (190, 150, 90), 12)
    cv2.imwrite(str(path), wall)


def effects(result: gs.FrameResult, wall: Path) -> list[Picture]:
    """The frame with every effect."""
    tiles = []
    for kind in gs.EffectKind:
        config = gs.EffectConfig(kind=kind, background=wall if kind is gs.EffectKind.REPLACE else None)
        picture = gs.Renderer(config).render(result)
        tiles.append(tile(on_chequers(picture) if picture.shape[2] == 4 else picture, str(kind)))
    return tiles


def outlined(picture: Picture, truths: Iterable[gs.HandMask], width: int = 1) -> Picture:
    """A copy with a white line around each of these masks."""
    drawn = picture.copy()
    for truth in truths:
        inside = (truth.full() >= 128).astype(np.uint8)
        lines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, lines, -1, (255, 255, 255), width)
    return drawn


def write_sheet(path: Path, tiles: Sequence[Picture], columns: int) -> None:
    """RGB tiles of one size in rows; the last row may be shorter. The suffix chooses the format."""
    blank = np.zeros_like(tiles[0])
    whole = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.hstack(whole[start : start + columns]) for start in range(0, len(whole), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], QUALITY if path.suffix == ".jpg" else ())


def main() -> None:
    """Track the clip and draw."""
    clip, overlay, masked = preset("demo"), gs.Renderer(gs.EffectConfig()), []
    shown = {round(k * (clip.frames - 1) / 11) for k in range(12)}
    with gs.HandTracker() as tracker, tempfile.TemporaryDirectory() as folder:
        wall = Path(folder) / "wall.png"
        striped_wall(wall, clip.size)
        for rendered in render_in_processes(clip, os.cpu_count() or 1):
            result = tracker.step(rendered.frame)
            if result.frame.seq in shown:
                masked.append(tile(overlay.render(result)))
            if result.frame.seq == EFFECT_FRAME:
                write_sheet(PICTURES / "effects.jpg", effects(result, wall), 3)
    write_sheet(PICTURES / "masked.jpg", masked, 4)


if __name__ == "__main__":
    main()
