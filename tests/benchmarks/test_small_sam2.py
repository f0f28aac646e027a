from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.small_sam2 import IMAGE_SIZE, build_small_sam2
from benchmarks.small_sam2_clips import TrainingClip, render_training_clip, square_clip
from benchmarks.small_sam2_samples import Batch, PromptKind, draw_batch
from benchmarks.train_small_sam2 import FrameOutput, Training, frame_loss, iou, track_batch, train_step
from gest_stream.synthetic import ClipConfig, render_clip


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    return square_clip(list(render_clip(ClipConfig(size=(160, 120), frames=2, seed=7, noise=0.0))))


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


def test_a_batch_prompts_on_the_hand_and_off_it(batch: Batch) -> None:
    points, labels = batch.prompts[0]
    assert points.shape[0] == 2 and batch.present.all()
    for hand in range(2):
        for (x, y), label in zip(points[hand].tolist(), labels[hand].tolist(), strict=True):
            if label in (0, 1):
                assert (float(batch.masks[0, hand, int(y), int(x)]) > 0.5) == (label == 1)


def test_augmentation_moves_truth_and_prompts_together(clip: TrainingClip) -> None:
    rng = np.random.default_rng(4)
    on = []
    for _ in range(12):
        drawn = draw_batch([clip], 1, PromptKind.POINT, rng)
        assert drawn is not None
        for mask, ((x, y),) in zip(drawn.masks[0], drawn.prompts[0][0].tolist(), strict=True):
            on.append(float(mask[int(y), int(x)]) > 0.5)
    assert np.mean(on) > 0.9


def test_a_training_clip_depends_on_its_number_alone() -> None:
    first, again, other = (render_training_clip(index, frames=1) for index in (3, 3, 4))
    assert np.array_equal(first.images, again.images) and np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.images, other.images)


def test_iou_of_logits_and_truth() -> None:
    logits, truth = torch.full((2, 4, 4), -1.0), torch.zeros(2, 4, 4)
    logits[0, :2], truth[0, 1:3] = 1.0, 1.0
    assert iou(logits, truth).tolist() == pytest.approx([4 / 12, 1.0])


def test_an_object_that_cannot_be_seen_or_is_denied_costs_only_its_score() -> None:
    truth = torch.zeros(2, 16, 16)
    truth[:, 4:12, 4:12] = 1.0
    logits, ious, chosen = torch.full((2, 3, 4, 4), -5.0), torch.zeros(2, 3), torch.zeros(2, 1, 16, 16)
    scores, present = torch.tensor([[-4.0], [4.0]]), torch.tensor([True, False])
    denied = frame_loss(FrameOutput(logits, ious, scores, chosen, True, False), truth, present)
    unseen = frame_loss(FrameOutput(logits, ious, scores, chosen, True, False), truth, torch.zeros_like(present))
    assert float(denied) == pytest.approx(4.018, abs=1e-3)
    assert float(unseen) == pytest.approx((4.018 + 0.018) / 2, abs=1e-3)


def test_the_candidate_that_fits_best_is_the_one_that_costs() -> None:
    truth = torch.zeros(1, 16, 16)
    truth[:, 4:12, 4:12] = 1.0
    good = torch.full((1, 1, 4, 4), -8.0)
    good[..., 1:3, 1:3] = 8.0
    scores, chosen, present = torch.tensor([[9.0]]), torch.zeros(1, 1, 16, 16), torch.tensor([True])
    costs = []
    for logits in (torch.cat([good, -good], 1), torch.cat([-good, -good], 1)):
        ious = iou(torch.nn.functional.interpolate(logits, scale_factor=4.0), truth[:, None].expand(-1, 2, -1, -1))
        costs.append(float(frame_loss(FrameOutput(logits, ious, scores, chosen, False, False), truth, present)))
    assert costs[0] < 0.5 < 1.5 < costs[1]


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
