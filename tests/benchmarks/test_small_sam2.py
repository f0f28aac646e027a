from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.small_sam2 import IMAGE_SIZE, build_small_sam2
from benchmarks.small_sam2_clips import SHAPE, clip_motion
from benchmarks.train_small_sam2 import Training
from gest_stream.synthetic import ClipConfig, render_clip
from gest_stream.training.sam2_batch import Batch, draw_batch
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.sam2_prompting import PromptKind
from gest_stream.training.sam2_rendering import square_clip
from gest_stream.training.sam2_step import train_step
from gest_stream.training.sam2_tracking import track_batch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    return square_clip(list(render_clip(ClipConfig(size=(160, 120), frames=2, seed=7, noise=0.0))), IMAGE_SIZE)


@pytest.fixture(scope="module")
def batch(clip: TrainingClip) -> Batch:
    drawn = draw_batch([clip], 2, PromptKind.TRACKER, np.random.default_rng(0), augment=False)
    assert drawn is not None
    return drawn


def test_memory_pointers_and_heads_are_those_of_the_official_configuration() -> None:
    model = build_small_sam2()
    assert (model.image_size, model.num_maskmem, model.max_obj_ptrs_in_encoder) == (IMAGE_SIZE, 7, 16)
    assert model.hidden_dim % model.mem_dim == 0 and model.mem_dim < model.hidden_dim
    assert model.use_high_res_features_in_sam and model.pred_obj_scores and model.binarize_mask_from_pts_for_mem_enc
    assert sum(p.numel() for p in model.parameters()) < 3e6


def test_clips_are_rendered_at_the_model_s_square() -> None:
    assert SHAPE.side == build_small_sam2().image_size


def test_motion_of_a_clip_is_told_in_hand_sizes(tmp_path: Path, clip: TrainingClip) -> None:
    assert clip.landmarks is not None
    path = tmp_path / "clip.npz"
    still, moved = np.repeat(clip.landmarks[:1], 2, axis=0), np.repeat(clip.landmarks[:1], 2, axis=0)
    moved[1, 0, :, 0] += 2 * np.ptp(clip.landmarks[0, 0], axis=0).max()
    for landmarks, least, most in ((still, 0.0, 0.0), (moved, 1.0, 3.0)):
        TrainingClip(clip.images, clip.masks, landmarks, clip.shown, clip.frame_size).save(path)
        assert least <= clip_motion(path) <= most


def test_training_lowers_the_loss_and_its_weights_and_state_return(
    tmp_path: Path, clip: TrainingClip, batch: Batch
) -> None:
    training = Training(tmp_path / "small.pt", tmp_path, minutes=1.0, seed=0)
    losses = [train_step(training.model, training.optimizer, batch)[0] for _ in range(4)]
    training.progress.step = 4
    training.save()
    resumed = Training(tmp_path / "small.pt", tmp_path, minutes=1.0, seed=1)
    resumed.resume()
    loaded = build_small_sam2(tmp_path / "small.pt")
    with torch.inference_mode():
        trained, returned = (
            [frame.logits for frame in track_batch(model, batch)] for model in (resumed.model.eval(), loaded)
        )
    assert losses[-1] < losses[0]
    assert resumed.progress.step == 4
    assert all(torch.equal(a, b) for a, b in zip(trained, returned, strict=True))
    assert torch.equal(loaded.no_mem_embed, training.model.no_mem_embed)


def test_training_steps_through_clips_until_its_time_is_up(tmp_path: Path, clip: TrainingClip) -> None:
    clip.save(tmp_path / "clip_00000.npz")
    training = Training(tmp_path / "small.pt", tmp_path, minutes=0.01, seed=0)
    training.run()
    assert training.progress.step >= 1 and training.progress.elapsed_s >= 0.6
    assert np.isfinite(training.progress.loss)
    assert (tmp_path / "small.pt").exists() and (tmp_path / "small.train.pt").exists()
