"""The size nano: how it is built, where its weights come from, and what it does with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from gest_stream.build import make_segmenter
from gest_stream.config import PipelineConfig, Sam2Config, Sam2Size, SegmenterKind
from gest_stream.errors import WeightsError
from gest_stream.models.builtin import builtin_path
from gest_stream.models.sam2_device import Compute, choose_compute
from gest_stream.models.sam2_model import Sam2Model
from gest_stream.models.sam2_nano import NANO_NAME
from gest_stream.models.sam2_weights import build_modules, load_checkpoint, weights_of
from gest_stream.training.builtin_store import save_builtin

CPU = Compute(torch.device("cpu"), torch.float32)


def test_the_engine_follows_it_and_it_fits_into_twelve_megabytes_in_half_precision() -> None:
    model = Sam2Model(build_modules(Sam2Size.NANO, 256), CPU)
    assert (model.image_size, model.memory_frames, model.pointer_frames) == (256, 3, 3)
    assert 2 * sum(value.numel() for value in model.modules.parameters()) < 12e6


def test_its_pictures_are_256_pixels_wide_unless_told_otherwise_and_others_1024() -> None:
    assert Sam2Config(size=Sam2Size.NANO).image_size == 256
    assert Sam2Config(size=Sam2Size.NANO, image_size=384).image_size == 384
    assert Sam2Config().image_size == 1024


def test_on_a_cpu_it_computes_in_float32_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gest_stream.models.sam2_device._best_dtype", lambda device: torch.bfloat16)
    assert choose_compute(Sam2Config(size=Sam2Size.NANO, device="cpu")).dtype is torch.float32
    assert choose_compute(Sam2Config(size=Sam2Size.TINY, device="cpu")).dtype is torch.bfloat16
    asked = Sam2Config(size=Sam2Size.NANO, device="cpu", precision="bfloat16")  # type: ignore[arg-type]
    assert choose_compute(asked).dtype is torch.bfloat16


def test_its_weights_lie_in_the_package() -> None:
    assert weights_of(Sam2Size.NANO) == builtin_path(NANO_NAME)
    assert builtin_path(NANO_NAME).stat().st_size < 12e6
    modules = build_modules(Sam2Size.NANO, 256)
    load_checkpoint(modules, builtin_path(NANO_NAME), "sam2 nano")


def test_weights_of_nano_are_told_from_those_of_an_official_size(tmp_path: Path) -> None:
    save_builtin(tmp_path / "nano.safetensors", build_modules(Sam2Size.NANO, 256).state_dict(), {})
    with pytest.raises(WeightsError, match="it looks like nano; use --size nano"):
        load_checkpoint(build_modules(Sam2Size.TINY, 64), tmp_path / "nano.safetensors", "sam2.1 tiny")


def test_a_pipeline_gets_it_without_a_download_and_without_a_warning_of_slowness(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> Sequence[Path]:
        raise AssertionError("something was fetched")

    monkeypatch.setattr("gest_stream.models.store.ModelStore.fetch", refuse)
    config = PipelineConfig(segmenter=SegmenterKind.SAM2, sam2=Sam2Config(size=Sam2Size.NANO, device="cpu"))
    with caplog.at_level(logging.WARNING):
        segmenter = make_segmenter(config)
    assert segmenter is not None and segmenter.takes_clicks
    segmenter.close()
    assert not caplog.records
