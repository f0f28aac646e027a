"""Decoding by NVIDIA's engine: where there is none it is refused or done without, and the frames are the same."""

import logging
from pathlib import Path

import numpy as np
import pytest

from gest_stream.config import Hwaccel, SourceConfig
from gest_stream.errors import ConfigError, SourceOpenError
from gest_stream.sources import decode
from gest_stream.sources.file import FileSource
from gest_stream.sources.open import open_source
from tests.media import make_clip
from tests.sources.running import read_all


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "cuda_decoding", lambda: None)


@pytest.mark.usefixtures("no_cuda")
def test_auto_falls_back_to_the_cpu_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_clip(tmp_path / "a.mp4")
    caplog.set_level(logging.INFO)
    plain = read_all(FileSource(path))
    frames = read_all(FileSource(path, hwaccel=Hwaccel.AUTO))
    assert "the CPU decodes" in caplog.text
    assert [frame.pts for frame in frames] == [frame.pts for frame in plain]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, frames, strict=True))


@pytest.mark.usefixtures("no_cuda")
def test_cuda_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    source = open_source(str(path), config=SourceConfig(hwaccel=Hwaccel.CUDA))
    with pytest.raises(SourceOpenError, match="no CUDA device can be opened for decoding.*use 'auto'"):
        read_all(source)


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(ConfigError, match="hwaccel: 'vdpau' is not known"):
        SourceConfig(hwaccel="vdpau")  # type: ignore[arg-type]


@pytest.mark.gpu
def test_nvdec_gives_the_frames_of_the_cpu(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    plain, there = read_all(FileSource(path)), read_all(FileSource(path, hwaccel=Hwaccel.CUDA))
    assert [frame.pts for frame in there] == [frame.pts for frame in plain]
    for a, b in zip(plain, there, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 2.0
