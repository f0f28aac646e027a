"""The benchmark of the size nano counts what it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import builtin_sam2_nano
from benchmarks.builtin_sam2_nano import SIDE, Sheet, followed, wide_clips
from gest_stream.training.sam2_batch import Batch
from gest_stream.training.sam2_tracking import FrameOutput
from gest_stream.training.wide_clips import ClipKind
from tests.training.wide_scene import write_discs


def answers(logits: torch.Tensor, seen: float) -> FrameOutput:
    objects = len(logits)
    scores = torch.full((objects, 1), seen)
    return FrameOutput(logits[:, None], torch.ones(objects, 1), scores, logits[:, None], False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_discs(tmp_path, learnt=0, held_out=3)


def test_the_truth_scores_one_and_nothing_scores_nought(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = wide_clips(root, ClipKind.RENDERED, most=2)
    assert [len(clip) for clip in clips] == [2, 2] and clips[0].images.shape[1] == SIDE

    def told(model: Any, batch: Batch) -> Iterator[FrameOutput]:
        return (answers(torch.where(mask >= 0.5, 5.0, -5.0), model) for mask in batch.masks)

    monkeypatch.setattr(builtin_sam2_nano, "track_batch", told)
    right, denied = followed(4.0, clips), followed(-4.0, clips)
    assert (right["hands_prompted"], right["iou_prompted_mean"], right["iou_tracked_mean"]) == (2, 1.0, 1.0)
    assert (right["presence_right_share"], denied["presence_right_share"]) == (1.0, 0.0)
    monkeypatch.setattr(
        builtin_sam2_nano, "track_batch", lambda model, batch: (answers(mask * 0 - 5, 4.0) for mask in batch.masks)
    )
    assert followed(4.0, clips)["iou_tracked_mean"] == 0.0


def test_a_sheet_shows_masks_in_colour(root: Path, tmp_path: Path) -> None:
    (clip,) = wide_clips(root, ClipKind.RENDERED, most=1)
    sheet = Sheet()
    sheet.add(clip, 0, torch.ones(1, SIDE, SIDE, dtype=torch.bool))
    sheet.write(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert not np.array_equal(sheet._tiles[0], clip.images[0])
