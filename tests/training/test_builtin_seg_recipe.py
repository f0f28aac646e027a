"""The recipe of hand-seg, shortened to minutes: from rendered clips to a network that beats constant answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gest_stream.training.builtin_config import BuiltinTraining
from gest_stream.training.builtin_seg import train_hand_seg
from gest_stream.training.builtin_seg_data import load_held_out_pictures
from gest_stream.training.labels import HAND, IGNORE
from gest_stream.training.wide_clips import HELD_OUT_FROM, ClipKind
from gest_stream.training.wide_data import ClipMaker, WideJob

LEARNT, HELD_OUT, STEPS = 40, 12, 250


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips as the full recipe renders them, of fewer frames and smaller."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / ClipKind.RENDERED).mkdir()
    maker = ClipMaker(WideJob(folder, frames=2, longer_side=160))
    for index in [*range(LEARNT), *range(HELD_OUT_FROM, HELD_OUT_FROM + HELD_OUT)]:
        maker.write(ClipKind.RENDERED, index)
    return folder


def best_constant(clips: Path) -> float:
    """Hand IoU of "all hand" over the held-out pictures; that of "all background" is 0."""
    seen = load_held_out_pictures(clips, 256, 1).by_kind[ClipKind.RENDERED]
    labels = np.concatenate([one.picture.labels.ravel() for one in seen])
    return float((labels == HAND).sum() / (labels != IGNORE).sum())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_hundred_steps_on_rendered_clips_beat_every_constant_answer(clips: Path, tmp_path: Path) -> None:
    config = BuiltinTraining(
        "hand-seg", clips, tmp_path / "net.safetensors", steps=STEPS, batch=8, val_every=STEPS, threads=1, device="cpu"
    )
    result = train_hand_seg(config, lambda told: None, lambda: False)
    assert result.best is not None
    constant = best_constant(clips)
    assert 0.0 < constant < 0.5
    assert result.best.iou["rendered hand"] > constant + 0.1
