"""The wiring: what the short library calls make of settings, arrays and names."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gest_stream as gs
from gest_stream.build import choose_redetector, choose_segmenter, make_redetector, make_segmenter, save_frames
from gest_stream.config import (
    BufferConfig,
    BufferPolicy,
    DinoBackbone,
    PipelineConfig,
    RedetectorConfig,
    RedetectorKind,
    Sam2Config,
    Sam2Size,
    SegmenterKind,
)
from gest_stream.models.builtin_segmenter import RefinerSegmenter
from gest_stream.models.dino_decoder import HandNet, NetSpec, save_net
from gest_stream.models.hand_seg_net import ARCHITECTURE, HandSegNet
from gest_stream.models.light import LightSegmenter
from gest_stream.models.registry import GEST_DETECTRON, sam2_weights_name
from gest_stream.testing import (
    ListSource,
    ScriptedDetector,
    ScriptedRedetector,
    ScriptedSegmenter,
    grey_ramp,
    hull_mask,
    make_landmarks,
    probability_of,
)
from gest_stream.training.builtin_store import save_builtin
from gest_stream.types import HandLandmarks, ReinitialisedBy

SIZE = (160, 120)


def one_hand(seq: int) -> Sequence[HandLandmarks]:
    return [make_landmarks((80, 60), 70)]


def tracker() -> gs.HandTracker:
    return gs.HandTracker(detector=ScriptedDetector(one_hand), segmenter=ScriptedSegmenter())


def test_arrays_get_a_running_pts_and_stable_ids() -> None:
    hands = tracker()
    rgb = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    results = [hands.step(rgb) for _ in range(4)]
    assert [(r.frame.seq, r.frame.pts) for r in results] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert results[0].frame.time_base == Fraction(1, 30)
    assert [[t.id for t in r.tracks] for r in results] == [[1]] * 4
    assert hands.step(rgb, pts=90).frame.time_s == 3.0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float64), r"expected a \(H, W, 3\) uint8 RGB array, got \(4, 4, 3\) float64; multiply"),
        (np.zeros((4, 4), np.uint8), r"got \(4, 4\) uint8; grey"),
        ("frame.png", "got str; convert it with numpy.asarray"),
    ],
)
def test_a_frame_of_another_kind_is_refused_and_the_tracker_goes_on(image: Any, message: str) -> None:
    hands = tracker()
    with pytest.raises(gs.InvalidInputError, match=message):
        hands.step(image)
    assert len(hands.step(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)).tracks) == 1


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model store that holds nothing."""
    monkeypatch.setattr("gest_stream.models.store.pooch.os_cache", lambda name: str(tmp_path / name))
    return tmp_path / "gest_stream"


@pytest.fixture
def no_builtin_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the project's own weights."""
    monkeypatch.setattr("gest_stream.models.builtin.builtin_path", lambda name: tmp_path / f"{name}.safetensors")


def test_auto_takes_builtin_and_says_why(caplog: pytest.LogCaptureFixture, empty_cache: Path) -> None:
    kind, reason = choose_segmenter(PipelineConfig())
    assert kind is SegmenterKind.BUILTIN and reason.startswith("builtin: ")
    assert "gest-stream models fetch sam2.1-tiny" in reason
    with caplog.at_level(logging.INFO, "gest_stream.build"):
        segmenter = make_segmenter(PipelineConfig())
    assert isinstance(segmenter, RefinerSegmenter)
    assert [record.getMessage() for record in caplog.records] == [f"segmenter {reason}"]


@pytest.mark.usefixtures("no_builtin_weights")
def test_auto_takes_light_where_the_installation_lacks_weights(empty_cache: Path) -> None:
    kind, reason = choose_segmenter(PipelineConfig())
    assert kind is SegmenterKind.LIGHT and "this installation lacks builtin's" in reason
    with pytest.raises(gs.WeightsError, match="is not there"):
        make_segmenter(PipelineConfig(segmenter=SegmenterKind.BUILTIN))


def test_light_can_still_be_had() -> None:
    assert isinstance(make_segmenter(PipelineConfig(segmenter=SegmenterKind.LIGHT)), LightSegmenter)


@pytest.mark.parametrize(
    ("cuda", "device", "kind"), [(True, "auto", "sam2"), (False, "auto", "builtin"), (True, "cpu", "builtin")]
)
def test_auto_takes_sam2_where_its_weights_and_cuda_are_here(
    cuda: bool, device: str, kind: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache.mkdir()
    (empty_cache / sam2_weights_name("small")).touch()
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    config = PipelineConfig(sam2=Sam2Config(size=Sam2Size.SMALL, device=device))
    assert str(choose_segmenter(config)[0]) == kind
    assert choose_segmenter(config)[1].startswith(f"{kind}: ")
    assert choose_segmenter(PipelineConfig())[0] is SegmenterKind.BUILTIN, "the weights of another size are no help"


def test_none_tracks_landmarks_only() -> None:
    assert make_segmenter(PipelineConfig(segmenter=SegmenterKind.NONE)) is None


def redetector_config(**changes: Any) -> PipelineConfig:
    return PipelineConfig(redetector=RedetectorConfig(**changes))


def test_auto_takes_the_built_in_redetector_without_other_weights_and_says_how_to_get_them(
    empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind, reason = choose_redetector(PipelineConfig())
    assert kind is RedetectorKind.BUILTIN and "gest-stream models fetch gest-detectron" in reason
    with caplog.at_level(logging.INFO, "gest_stream.build"):
        redetector = make_redetector(PipelineConfig())
    assert redetector is not None and redetector.kind is ReinitialisedBy.BUILTIN
    redetector.close()
    assert caplog.messages == [f"redetector {reason}"]


def test_light_runs_without_networks_unless_one_is_asked_for(empty_cache: Path) -> None:
    light = PipelineConfig(segmenter=SegmenterKind.LIGHT)
    kind, reason = choose_redetector(light)
    assert kind is RedetectorKind.NONE and "gest-stream models fetch gest-detectron" in reason
    assert make_redetector(light) is None
    asked = replace(light, redetector=RedetectorConfig(RedetectorKind.BUILTIN, device="cpu"))
    assert choose_redetector(asked)[0] is RedetectorKind.BUILTIN


@pytest.mark.parametrize(
    ("cuda", "device", "kind"), [(True, "auto", "dino"), (False, "auto", "builtin"), (True, "cpu", "builtin")]
)
def test_auto_takes_gest_detectrons_weights_where_cuda_is_here(
    cuda: bool, device: str, kind: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache.mkdir()
    (empty_cache / GEST_DETECTRON).touch()
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    found, reason = choose_redetector(redetector_config(device=device))
    assert str(found) == kind and reason.startswith(f"{kind}: ")


def test_a_given_checkpoint_is_taken_by_auto_and_loaded(tmp_path: Path) -> None:
    save_net(tmp_path / "own.pt", HandNet(NetSpec(DinoBackbone.NANO, width=16, input_size=112)))
    config = redetector_config(checkpoint=tmp_path / "own.pt", device="cpu")
    assert choose_redetector(config)[0] is RedetectorKind.DINO
    redetector = make_redetector(config)
    assert redetector is not None
    assert redetector.segment(grey_ramp(1, SIZE)[0]).frame_size == SIZE


def test_none_and_landmarks_only_take_no_redetector() -> None:
    assert choose_redetector(redetector_config(kind=RedetectorKind.NONE))[0] is RedetectorKind.NONE
    alone = PipelineConfig(
        segmenter=SegmenterKind.NONE, redetector=RedetectorConfig(kind=RedetectorKind.DINO, checkpoint=Path("any.pt"))
    )
    assert choose_redetector(alone) == (RedetectorKind.NONE, "none: there is no segmenter that it would prompt")


@pytest.mark.parametrize("kind", [RedetectorKind.AUTO, RedetectorKind.BUILTIN])
def test_weights_of_hand_seg_of_ones_own_are_taken(kind: RedetectorKind, tmp_path: Path) -> None:
    save_builtin(tmp_path / "own.safetensors", HandSegNet().state_dict(), {"architecture": ARCHITECTURE})
    config = redetector_config(kind=kind, checkpoint=tmp_path / "own.safetensors", device="cpu")
    assert choose_redetector(config)[0] is RedetectorKind.BUILTIN
    redetector = make_redetector(config)
    assert redetector is not None and redetector.kind is ReinitialisedBy.BUILTIN
    assert redetector.segment(grey_ramp(1, SIZE)[0]).frame_size == SIZE


def test_a_tracker_takes_a_redetector_of_the_callers_and_closes_it() -> None:
    hand = hull_mask(make_landmarks((80, 60), 70), SIZE)
    redetector = ScriptedRedetector(lambda frame: probability_of([hand], SIZE), ReinitialisedBy.BUILTIN)
    detector, segmenter = ScriptedDetector(lambda seq: []), ScriptedSegmenter()
    with gs.HandTracker(detector=detector, segmenter=segmenter, redetector=redetector) as hands:
        (track,) = hands.step(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)).tracks
    assert track.reinitialised_by is ReinitialisedBy.BUILTIN
    assert track.mask is not None and track.mask.iou(hand) > 0.8
    assert redetector.closed and detector.closed and segmenter.closed


def test_a_pipeline_opens_a_path_and_keeps_the_files_pts(tmp_path: Path) -> None:
    async def go() -> list[gs.FrameResult]:
        source = ListSource(grey_ramp(7, SIZE))
        async with source:
            await save_frames(source, tmp_path / "copy.mp4")
        config = PipelineConfig(buffer=BufferConfig(policy=BufferPolicy.LOSSLESS))
        async with gs.Pipeline.open(tmp_path / "copy.mp4", config=config, tracker=tracker()) as pipeline:
            assert pipeline.info.size == SIZE
            return [result async for result in pipeline]

    results = asyncio.run(go())
    assert [r.frame.time_s for r in results] == pytest.approx([n / 30 for n in range(7)])
    assert [int(r.frame.image.mean().round()) for r in results] == pytest.approx(list(range(7)), abs=2)


def test_a_size_that_changes_mid_stream_keeps_ids_and_resets_the_masks(caplog: pytest.LogCaptureFixture) -> None:
    def grown(seq: int) -> Sequence[HandLandmarks]:
        return [make_landmarks((80, 60), 70)] if seq < 3 else [make_landmarks((160, 120), 140)]

    segmenter = ScriptedSegmenter()
    hands = gs.HandTracker(detector=ScriptedDetector(grown), segmenter=segmenter)
    small, large = (np.zeros((h, w, 3), np.uint8) for w, h in ((160, 120), (320, 240)))
    with caplog.at_level(logging.INFO):
        ids = [[t.id for t in hands.step(image).tracks] for image in (small, small, small, large, large)]
    assert segmenter.resets == 1
    assert ids == [[1]] * 5
    assert any("160x120" in r.getMessage() and "320x240" in r.getMessage() for r in caplog.records)
