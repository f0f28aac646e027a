from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import rendered, sam2_quality
from benchmarks.sam2_quality import DEFAULT, LIGHT, VARIANTS, Job, figures_of, measure_clip
from benchmarks.sam2_quality_scores import Scores, compared, score_clip, summary
from gest_stream.config import Sam2Size
from gest_stream.models.sam2_weights import build_modules
from gest_stream.synthetic import ClipConfig, SyntheticFrame, render_clip
from gest_stream.testing import ScriptedDetector
from gest_stream.types import FrameResult, Handedness, HandMask, MaskSource, Track, TrackState

Masks = list[list[tuple[int, HandMask | None]]]
CLIP = ClipConfig(size=(320, 240), frames=3, seed=7, noise=0.0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip() -> list[SyntheticFrame]:
    return list(render_clip(CLIP))


def _scored(clip: list[SyntheticFrame], masks: Masks) -> Scores:
    """The run whose tracks have these (id, mask) on each frame; the detector finds nothing on the last frame."""
    results = [
        FrameResult(
            rendered.frame,
            tuple(
                Track(k, TrackState.TRACKED, Handedness.LEFT, 1.0, rendered.hands[k - 1].landmarks, mask)
                for k, mask in of_frame
            ),
        )
        for rendered, of_frame in zip(clip, masks, strict=True)
    ]
    found = [[hand.landmarks for hand in rendered.hands] for rendered in clip[:-1]]
    return score_clip("clip", clip, [*found, []], results)


def _truth(clip: list[SyntheticFrame]) -> Masks:
    return [[(hand.index + 1, hand.hand_mask) for hand in rendered.hands] for rendered in clip]


def test_the_truth_scores_full_marks(clip: list[SyntheticFrame]) -> None:
    figures = summary([_scored(clip, _truth(clip))])
    assert (figures["hands"], figures["iou_mean"], figures["boundary_f_mean"]) == (6, 1.0, 1.0)
    assert (figures["missing_share"], figures["id_changes"], figures["masks_on_no_hand"]) == (0.0, 0, 0)
    assert figures["without_landmarks"] == {"hands": 2, "iou_mean": 1.0, "missing_share": 0.0}
    assert figures["successive_iou_mean"] == figures["successive_iou_of_truth_mean"] < 1.0
    assert figures["overlap_px_most"] == 0


def test_swapped_ids_a_missing_mask_overlap_and_a_mask_on_the_arm_are_counted(clip: list[SyntheticFrame]) -> None:
    masks = _truth(clip)
    left, right = (hand.hand_mask for hand in clip[1].hands)
    both = HandMask.from_full(np.maximum(left.full(), right.full()), 1.0, MaskSource.SCRIPTED)
    masks[0][1] = (2, None)
    masks[1] = [(2, both), (1, right)]
    masks[2][1] = (2, clip[2].hands[1].arm_mask)
    run = _scored(clip, masks)
    figures = summary([run])
    by_key = {hand.key[1:]: hand for hand in run.hands}
    share = left.area_px / both.area_px
    assert (by_key[0, 1].masked, by_key[0, 1].iou, figures["missing_share"]) == (False, 0.0, pytest.approx(0.1667))
    assert (by_key[1, 0].track_id, by_key[1, 1].track_id, figures["id_changes"]) == (2, 1, 4)
    assert by_key[1, 0].iou == pytest.approx(share) and by_key[1, 0].other_share == pytest.approx(1 - share)
    assert [by_key[1, k].own_iou for k in (0, 1)] == pytest.approx([0.0, 1 - share])
    assert figures["own_iou_below_0.1_share"] == pytest.approx(3 / 6)
    assert run.overlap_px[1] == figures["overlap_px_most"] == right.area_px
    assert (by_key[2, 1].arm_share, by_key[2, 1].detected) == (1.0, False)
    assert run.stray == ((2, 2),)


def test_what_is_equal_does_not_differ_and_a_loss_has_an_interval_below_zero(clip: list[SyntheticFrame]) -> None:
    perfect = _scored(clip, _truth(clip))
    long = replace(
        perfect, hands=tuple(replace(h, key=("clip", k * 15, h.key[2])) for k in range(9) for h in perfect.hands)
    )
    rng = np.random.default_rng(0)
    worse = replace(long, hands=tuple(replace(h, iou=float(rng.uniform(0.6, 0.8))) for h in long.hands))
    same, lost = compared([long], [long]), compared([worse], [long])
    assert same["changed_share"] == 0.0 and same["iou"]["interval_95"] == [0.0, 0.0]
    low, high = lost["iou"]["interval_95"]
    assert -0.4 < low < lost["iou"]["mean"] < high < -0.2
    assert lost["boundary_f"]["mean"] == 0.0


def test_an_untrained_model_runs_through_every_kind_of_variant(
    tmp_path: Path, clip: list[SyntheticFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "nano.pt"
    torch.save({"model": build_modules(Sam2Size.NANO, 256).state_dict()}, weights)
    kept = {name: VARIANTS[name] for name in (DEFAULT, "upstream-like", "append", "reprompt alone")}
    monkeypatch.setattr(sam2_quality, "VARIANTS", kept)
    told = ScriptedDetector(lambda seq: [hand.landmarks for hand in clip[seq].hands])
    monkeypatch.setattr(rendered, "make_detector", lambda _: told)
    scores = measure_clip(Job("tiny", CLIP, weights, cache=tmp_path / "clips"))
    figures = figures_of({"tiny": scores})
    assert set(figures) == {*kept, LIGHT}
    assert len(list((tmp_path / "clips").glob("*/*.pkl"))) == 1
    assert len(scores[DEFAULT].prompted) >= 2 and {frame for frame, _ in scores[DEFAULT].prompted[:2]} == {0}
    assert figures[LIGHT]["all"]["iou_mean"] > 0.8
    assert scores[DEFAULT].hands != scores[LIGHT].hands
    assert figures["append"]["minus default"]["all"]["iou"] is not None


def test_without_weights_it_says_why_it_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "none.pt"
    monkeypatch.setattr("sys.argv", ["sam2_quality", "--weights", str(absent), "--json", str(tmp_path / "out.json")])
    sam2_quality.main()
    assert f"skipped, no weights at {absent}" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()
