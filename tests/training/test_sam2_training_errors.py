"""What is wrong is said before the first step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gest_stream.config import Sam2Size
from gest_stream.errors import ConfigError, DeviceError, InvalidInputError, SinkError, WeightsError
from gest_stream.synthetic import ClipConfig, render_clip
from gest_stream.training import sam2_loop
from gest_stream.training.progress import Stage, TrainingProgress
from gest_stream.training.sam2 import train_sam2
from gest_stream.training.sam2_config import ClipData, ClipKind, Sam2Part, Sam2Training, parse_parts
from gest_stream.training.sam2_data import batch_of_step, prepare_clips, split_clips
from gest_stream.training.sam2_folder import open_folder
from gest_stream.training.sam2_rendering import clip_path, square_clip
from tests.training.sam2_scene import disc_ids, training, write_clip, write_palette, write_start


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start") / "start.pt")


@pytest.fixture
def folder(tmp_path: Path, start: Path) -> Path:
    write_clip(tmp_path, frames=4)
    shutil.copy(start, tmp_path / "start.pt")
    return tmp_path


@pytest.fixture
def no_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where a step is made."""

    def step(*_: Any) -> None:
        raise AssertionError("a step was made")

    monkeypatch.setattr(sam2_loop, "train_step", step)
    yield


@pytest.mark.usefixtures("no_step")
def test_data_that_are_of_no_use(folder: Path, tmp_path: Path) -> None:
    write_palette(folder / "Annotations" / "discs" / "00002.png", disc_ids(2)[:30])
    with pytest.raises(InvalidInputError, match=r"00002\.png: is 96x30 pixels, but .*00002\.png is 96x64"):
        train_sam2(training(folder))
    for index in range(4):
        write_palette(folder / "Annotations" / "discs" / f"{index:05d}.png", 0 * disc_ids(0))
    with pytest.raises(InvalidInputError, match="none of its 1 clips shows an object to start with"):
        train_sam2(training(folder))
    shutil.rmtree(folder / "Annotations")
    with pytest.raises(InvalidInputError, match="no mask of any"):
        train_sam2(training(folder))
    shutil.rmtree(folder / "JPEGImages")
    with pytest.raises(InvalidInputError, match="holds no clips"):
        train_sam2(training(folder))
    assert not (folder / "tuned.pt").exists()


@pytest.mark.usefixtures("no_step")
def test_a_checkpoint_of_another_size_or_none_at_all(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"start\.pt: does not fit sam2\.1 small"):
        train_sam2(training(folder, size=Sam2Size.SMALL, overrides=()))
    with pytest.raises(WeightsError, match=r"nowhere\.pt: cannot be read"):
        train_sam2(training(folder, init=folder / "nowhere.pt"))
    (folder / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match=r"broken\.pt: is no checkpoint"):
        train_sam2(training(folder, init=folder / "broken.pt"))


@pytest.mark.usefixtures("no_step")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none(folder: Path) -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda': torch sees 0 CUDA devices; .* --device cpu"):
        train_sam2(training(folder, device="cuda"))


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GB")],
)
def test_memory_that_does_not_suffice_in_the_first_step(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: Any) -> None:
        raise error

    monkeypatch.setattr(sam2_loop, "train_step", step)
    with pytest.raises(
        DeviceError, match=r"cpu: out of memory .* at 64 pixels; use fewer --frames \(now 3\), a smaller --im"
    ):
        train_sam2(training(folder))
    with pytest.raises(DeviceError, match=r"a smaller --batch or leave --unfreeze-encoder out"):
        train_sam2(training(folder, batch=2, unfreeze_encoder=True))


def test_other_errors_of_torch_stay_what_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(sam2_loop, "train_step", step)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_sam2(training(folder))


@pytest.mark.usefixtures("no_step")
def test_outputs_that_cannot_be_written_and_states_that_are_none(folder: Path) -> None:
    with pytest.raises(SinkError, match="nowhere: the folder does not exist"):
        train_sam2(training(folder, out=folder / "nowhere" / "tuned.pt"))
    (folder / "tuned.json").write_text('{"images": []}')
    with pytest.raises(SinkError, match=r"tuned\.json: the history of the training would be written there"):
        train_sam2(training(folder))
    (folder / "tuned.json").unlink()
    with pytest.raises(ConfigError, match=r"tuned\.train\.pt: there is no training to go on with"):
        train_sam2(training(folder, resume=True))
    torch.save({"format": "something else"}, folder / "tuned.train.pt")
    with pytest.raises(WeightsError, match=r"tuned\.train\.pt: is not the state of a training of this version"):
        train_sam2(training(folder, resume=True))


def test_parts_are_named_and_the_encoder_has_its_switch() -> None:
    assert parse_parts("memory, decoder,memory") == (Sam2Part.MEMORY, Sam2Part.DECODER)
    with pytest.raises(ConfigError, match=r"train: 'decodr' is not known; did you mean 'decoder'\?"):
        parse_parts("decodr,memory")
    with pytest.raises(ConfigError, match="use --unfreeze-encoder"):
        parse_parts("decoder,encoder")
    with pytest.raises(ConfigError, match="expected parts such as"):
        parse_parts(" ,")


def settings(**values: Any) -> Sam2Training:
    return Sam2Training(**{"data": (ClipData(ClipKind.SYNTHETIC),), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": ()}, "nothing to learn from"),
        ({"out": Path("sam2.ckpt")}, "name ends in .pt"),
        ({"image_size": 500}, "image_size: expected a multiple of 32 from 64 to 2048, got 500"),
        ({"frames": 0}, "frames: expected 1 to 64, got 0"),
        ({"batch": 0}, "batch: expected 1 to 256, got 0"),
        ({"rate": 0.0}, "rate: expected above 0, up to 1, got 0.0"),
        ({"minutes": float("nan")}, "minutes: expected a number above 0, got nan"),
        ({"device": "gpu"}, "device: expected auto, cpu, cuda"),
        ({"size": "huge"}, "'huge' is not known"),
        ({"train": ("head",)}, "train: 'head' is not known"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
    ],
)
def test_settings_without_meaning_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def test_names_are_taken_for_parts_and_the_encoder_is_one_more() -> None:
    assert settings(train=("memory", "decoder")).trained == (Sam2Part.DECODER, Sam2Part.MEMORY)
    assert settings(unfreeze_encoder=True).trained == (Sam2Part.DECODER, Sam2Part.MEMORY, Sam2Part.ENCODER)


def test_clips_are_kept_back_by_name_so_that_a_set_may_grow(tmp_path: Path) -> None:
    for index in range(12):
        write_clip(tmp_path, f"clip{index}", frames=1)
    clips = open_folder(tmp_path, 64, 0.01, tmp_path)
    learnt, kept = split_clips(clips, 0.3)
    assert sorted(clip.name for clip in (*learnt, *kept)) == sorted(clip.name for clip in clips)
    assert 1 <= len(kept) <= 8
    fewer = split_clips(clips[:8], 0.3)
    if len(fewer[1]) > 1:
        assert {clip.name for clip in fewer[1]} <= {clip.name for clip in kept}
    assert [len(side) for side in split_clips(clips[:2], 0.001)] == [1, 1]
    assert [len(side) for side in split_clips(clips[:2], 0.999)] == [1, 1]


def test_other_clips_can_be_measured_with_and_limited(tmp_path: Path) -> None:
    for name, clips in (("learn", 2), ("measure", 5)):
        for index in range(clips):
            write_clip(tmp_path / name, f"clip{index}", frames=1)
    told: list[TrainingProgress] = []
    data = {name: (ClipData(ClipKind.CLIPS, tmp_path / name),) for name in ("learn", "measure")}
    config = Sam2Training(data=data["learn"], val=data["measure"], val_limit=3, image_size=64)
    found = prepare_clips(config, told.append)
    assert (len(found.learnt), [clip.name for clip in found.kept]) == (2, ["clip0", "clip1", "clip3"])
    assert {one.stage for one in told} == {Stage.READING} and told[-1].done == told[-1].total == 5
    assert found.fingerprint() != prepare_clips(Sam2Training(data=data["measure"], image_size=64), print).fingerprint()


def test_rendered_clips_and_a_folder_are_learnt_from_together(tmp_path: Path) -> None:
    clip = square_clip(list(render_clip(ClipConfig(size=(160, 120), frames=2, seed=7, noise=0.0))), 64)
    kept = tmp_path / "kept" / "sam2-clips-64x8"
    kept.mkdir(parents=True)
    for index in range(2):
        clip.save(clip_path(kept, index))
    write_clip(tmp_path / "discs", frames=2)
    data = (ClipData(ClipKind.SYNTHETIC, tmp_path / "kept"), ClipData(ClipKind.CLIPS, tmp_path / "discs"))
    config = Sam2Training(data=data, rendered=2, image_size=64, frames=2, batch=4, corrected=0.0)
    found = prepare_clips(config, lambda told: None)
    assert len(found.learnt) + len(found.kept) == 3 and len(found.kept) == 1
    clips = (*found.learnt, *found.kept)
    sizes = {len(batch_of_step(clips, config, step).clip_of) for step in range(6)}
    again = batch_of_step(clips, config, 5), batch_of_step(clips, config, 5)
    assert max(sizes) >= 5 and torch.equal(again[0].images, again[1].images)
