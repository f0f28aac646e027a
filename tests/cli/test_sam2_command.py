"""`gest-stream run --segmenter sam2`, with seeded weights of the real tiny model at a small picture size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from gest_stream.build import models
from gest_stream.cli import download
from gest_stream.cli.main import app
from gest_stream.config import Sam2Size
from gest_stream.errors import WeightsError
from gest_stream.testing import ScriptedDetector, make_landmarks
from gest_stream.types import HandLandmarks
from tests.media import Clip, make_clip
from tests.models.sam2_upstream import weights

FRAMES = 6
SIZE = (320, 180)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights under which a hand is always there."""
    path = tmp_path_factory.mktemp("weights") / "seeded.pt"
    torch.save({"model": weights(Sam2Size.TINY, 64, score_bias=60.0)}, path)
    yield path
    path.unlink()


def run(clip: Path, *args: object) -> Result:
    return CliRunner().invoke(app, ["run", str(clip), "--segmenter", "sam2", *map(str, args)])


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clip on which a scripted detector sees a hand."""

    def script(seq: int) -> Sequence[HandLandmarks]:
        return [make_landmarks((160, 90), 80)]

    monkeypatch.setattr(models, "make_detector", lambda config: ScriptedDetector(script))
    monkeypatch.setattr(download, "fetch_needed", lambda config, console: None)
    path: Path = make_clip(tmp_path / "clip.mp4", Clip(size=SIZE, frames=FRAMES))
    return path


def test_sam2_makes_the_masks_of_every_frame(clip: Path, checkpoint: Path, tmp_path: Path) -> None:
    lines, video = tmp_path / "hands.jsonl", tmp_path / "masked.mp4"
    outputs = ("--save-json", lines, "--save-masked", video)
    result = run(clip, "--size", "tiny", "--device", "cpu", "--image-size", 64, "--checkpoint", checkpoint, *outputs)
    assert result.exit_code == 0, result.stderr
    assert "segmenter sam2: asked for" in result.stderr
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(records) == FRAMES
    assert {track["mask_source"] for record in records for track in record["tracks"]} == {"sam2"}
    assert all(len(record["tracks"]) == 1 for record in records)


def test_a_deadline_gives_every_frame_a_mask_and_tells_how_old_it_is(
    clip: Path, checkpoint: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "hands.jsonl"
    model = ("--size", "tiny", "--device", "cpu", "--image-size", 64, "--checkpoint", checkpoint)
    result = run(clip, *model, "--deadline", "0.01ms", "--save-json", lines)
    assert result.exit_code == 0, result.stderr
    tracks = [track for line in lines.read_text().splitlines() for track in json.loads(line)["tracks"]]
    assert len(tracks) == FRAMES
    assert tracks[0]["mask_source"] == "shape"  # no answer comes in a hundredth of a millisecond
    assert {track["mask_source"] for track in tracks} <= {"shape", "carried", "sam2"}
    assert all((track["mask_age_ms"] > 0) == (track["mask_source"] == "carried") for track in tracks)


def test_a_checkpoint_of_another_size_is_named_with_both_and_the_remedy(clip: Path, checkpoint: Path) -> None:
    result = run(clip, "--size", "small", "--device", "cpu", "--image-size", 64, "--checkpoint", checkpoint)
    error = result.exception
    assert isinstance(error, WeightsError)
    assert "seeded.pt: does not fit sam2.1 small" in str(error) and "it looks like tiny; use --size tiny" in str(error)


def test_an_image_size_that_the_model_cannot_take_is_refused(clip: Path) -> None:
    result = run(clip, "--image-size", 500)
    assert "sam2.image_size: expected a multiple of 32 from 64 to 2048, got 500" in str(result.exception)
