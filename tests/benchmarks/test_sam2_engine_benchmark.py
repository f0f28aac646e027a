import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import sam2_long_run
from benchmarks.peers.sam2_systems import Ours, Upstream, pictures_on_device
from benchmarks.peers.sam2_transformers import transformers_name, transformers_state
from benchmarks.report import ROOT
from benchmarks.sam2_clip import Clip, Model, make_clip, make_engine
from benchmarks.sam2_rounds import Record, agreement, measure_round, ratio, warm_up
from benchmarks.sam2_timing import percentiles, tensor_bytes
from gest_stream.config import Precision, Sam2Runner, Sam2Size

NANO = Model(Sam2Size.TINY, 64, nano=True)
NOT_NEEDED = (
    "pydantic pooch mediapipe av aiortc matplotlib psutil transformers cv2 scipy requests typer rich pycocotools"
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def clip() -> Clip:
    return make_clip((96, 64), 2)


@pytest.fixture
def ours(clip: Clip) -> Ours:
    engine = make_engine(NANO, NANO.state(), "cpu", Sam2Runner.BATCHED, Precision.FLOAT32, 2)
    return Ours("ours batched", engine, clip, Precision.FLOAT32)


@pytest.fixture
def upstream(clip: Clip, ours: Ours) -> Upstream:
    return Upstream(NANO, NANO.state(), clip, pictures_on_device(ours.engine, clip), 40, Precision.FLOAT32)


def test_the_benchmark_writes_parts_and_steps_where_only_torch_and_sam2_are_installed(tmp_path: Path) -> None:
    command = (
        "--cases nano-tiny:64:2 --rounds 1 --frames 1 --part-repeats 1 --frame-size 96 64 --device cpu --threads 1 "
        "--precisions float32 --runners batched"
    )
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED!r}.split()))\n"
        f"sys.argv[1:] = {command!r}.split() + ['--json', {str(tmp_path / 'out.json')!r}]\n"
        "from benchmarks.sam2_engine import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["complete"]
    assert {part["part"] for part in found["parts"]} >= {"encoder", "attention", "decoder", "memory encoder"}
    (case,) = found["steps"]
    theirs, ours = case["systems"]
    assert (theirs["system"], ours["system"]) == ("upstream", "ours batched")
    assert ours["others_take_times_as_long"].keys() == {"upstream"}
    assert ours["beside_upstream"]["lowest_mask_iou"] > 0.999
    assert "transformers" in case["skipped"]["transformers float32"]


def test_memories_are_filled_and_masks_compared_before_anything_is_timed(ours: Ours, upstream: Upstream) -> None:
    records = warm_up([Record(upstream), Record(ours)], {})
    assert [record.frame for record in records] == [17, 17]
    assert not records[0].agreements and len(records[1].agreements) == 17
    assert all(lowest_iou > 0.999 and largest < 1e-4 for lowest_iou, largest in records[1].agreements)
    measure_round(records, torch.device("cpu"), 2, turn=1)
    assert [record.frame for record in records] == [20, 20], "one frame that is not counted, and two that are"
    assert [len(record.rounds_ms[0]) for record in records] == [2, 2]


def test_on_cuda_frames_are_timed_by_events_and_once_more_without_waits(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Event:
        marks = 0.0

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            Event.marks += 5.0
            self.mark = Event.marks

        def synchronize(self) -> None: ...

        def elapsed_time(self, later: "Event") -> float:
            return later.mark - self.mark

    allocated = iter((100, 100))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(allocated))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 130)
    record = Record(ours)
    measure_round([record], torch.device("cuda"), 2, turn=0)
    assert record.rounds_ms == [[5.0, 5.0]] and record.streamed_ms == [2.5] and record.peak_bytes == 30
    assert record.frame == 6, "two passes, each with a frame that is not counted"


def test_upstreams_state_grows_by_frame_and_ours_does_not(ours: Ours, upstream: Upstream) -> None:
    sizes: dict[str, list[int]] = {"ours batched": [], "upstream": []}
    for system in (ours, upstream):
        for frame in range(4):
            with system.chunk():
                system.advance(frame)
            sizes[system.name].append(system.state_bytes())
    assert len(set(sizes["ours batched"])) == 1
    assert sizes["upstream"] == sorted(set(sizes["upstream"]))


def test_a_system_that_fails_leaves_the_others_running(ours: Ours, upstream: Upstream) -> None:
    class Broken:
        name, precision, chunk, state_bytes = "broken", Precision.FLOAT32, ours.chunk, ours.state_bytes

        def advance(self, frame: int) -> torch.Tensor:
            raise NotImplementedError("no such kernel")

    skipped: dict[str, str] = {}
    assert [record.system.name for record in warm_up([Record(Broken()), Record(ours)], skipped)] == ["ours batched"]
    assert "no such kernel" in skipped["broken float32"]


def test_a_ratio_above_one_means_that_the_other_takes_longer(ours: Ours, upstream: Upstream) -> None:
    mine, theirs = Record(ours, rounds_ms=[[1.0, 2.0, 3.0], [1.0]]), Record(upstream, rounds_ms=[[6.0], [4.0, 4.0]])
    assert ratio(mine, theirs) == 3.5


def test_agreement_takes_the_worst_mask() -> None:
    reference = torch.tensor([[[[1.0, 1.0], [-1.0, -1.0]]], [[[1.0, -1.0], [-1.0, -1.0]]]])
    other = reference.clone()
    other[0, 0, 0, 1] = -2.0
    assert agreement(other, reference) == (0.5, 3.0)
    assert agreement(-torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)) == (1.0, 0.0), "two empty masks agree"


def test_tensor_bytes_counts_a_storage_once() -> None:
    tensor = torch.zeros(10, 4)
    assert tensor_bytes({"whole": tensor, "rows": [tensor[2], tensor[3]]}, torch.zeros(2)) == 168


def test_percentiles_name_how_many_samples_they_are_of() -> None:
    assert percentiles([3.0, 1.0, 2.0]) == {"samples": 3, "p50_ms": 2.0, "p95_ms": 2.9, "p99_ms": 2.98, "max_ms": 3.0}


def test_objects_are_replaced_and_corrected_in_a_long_run_without_growth(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam2_long_run, "CORRECT_EVERY", 31)
    monkeypatch.setattr(sam2_long_run, "REPLACE_EVERY", 47)
    monkeypatch.setattr(sam2_long_run, "MARKS", (100, 1000))
    engine = make_engine(NANO, NANO.state(), "cpu", Sam2Runner.BATCHED, Precision.FLOAT32, 2)
    found = sam2_long_run.run_ours(engine, clip, steps=100, samples=5)
    assert found["objects_seen"] == 2 + 2 and found["prompts"] == 2 + 2 + 3
    assert found["state_bytes_constant"]
    assert found["live_tensor_bytes_max_after_warm_up"] - found["live_tensor_bytes_min_after_warm_up"] < 20_000
    assert set(found["last_thousand_steps_before"]) == {"100"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("image_encoder.trunk.blocks.3.norm1.weight", "vision_encoder.backbone.blocks.3.layer_norm1.weight"),
        ("image_encoder.neck.convs.2.conv.bias", "vision_encoder.neck.convs.2.bias"),
        ("sam_mask_decoder.iou_prediction_head.layers.1.bias", "mask_decoder.iou_prediction_head.layers.0.bias"),
        ("memory_encoder.out_proj.weight", "memory_encoder.projection.weight"),
        ("memory_encoder.mask_downsampler.encoder.12.bias", "memory_encoder.mask_downsampler.final_conv.bias"),
        ("memory_encoder.mask_downsampler.encoder.7.bias", "memory_encoder.mask_downsampler.layers.2.layer_norm.bias"),
        ("obj_ptr_proj.layers.2.weight", "object_pointer_proj.proj_out.weight"),
    ],
)
def test_weights_are_found_under_their_name_in_transformers(name: str, expected: str) -> None:
    assert transformers_name(name) == expected


def test_no_two_weights_get_the_same_name_in_transformers() -> None:
    state = NANO.state()
    assert len(transformers_state(state)) == len(state) - 4 + 1 + 1, "four points become one, one matrix is there twice"
