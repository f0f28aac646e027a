"""How a video is compressed: the settings, and NVENC where it is."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gest_stream.config import H264Encoder, VideoConfig
from gest_stream.errors import ConfigError
from gest_stream.sinks import picture_encoder
from gest_stream.sinks.containers import codec_for
from gest_stream.sinks.video import VideoSink
from gest_stream.types import Frame, FrameResult
from tests.sinks.conftest import run_sink


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": 52}, "video.crf: expected 0 to 51, got 52"),
        ({"preset": "hasty"}, "video.preset: expected one of ultrafast, .*, got 'hasty'"),
        ({"threads": -1}, "video.threads: expected 0 or more, got -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VideoConfig(**options)  # type: ignore[arg-type]


def test_crf_trades_size_for_quality(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    results = [FrameResult(Frame(image, n, Fraction(1, 30), 0)) for n in range(3)]
    for crf in (10, 40):
        run_sink(VideoSink(tmp_path / f"{crf}.mp4", options=VideoConfig(crf=crf)), results)
    assert (tmp_path / "10.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


def test_h264_by_nvenc_is_refused_or_done_without_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture_encoder, "nvenc_works", lambda: False)
    caplog.set_level(logging.INFO)
    results = [FrameResult(Frame(np.zeros((48, 64, 3), np.uint8), n, Fraction(1, 30), 0)) for n in range(3)]
    with pytest.raises(ConfigError, match="video.h264: 'nvenc' cannot be opened on this machine; use 'auto'"):
        run_sink(VideoSink(tmp_path / "a.mp4", options=VideoConfig(h264=H264Encoder.NVENC)), results)
    run_sink(VideoSink(tmp_path / "b.mp4", options=VideoConfig(h264=H264Encoder.AUTO)), results)
    assert "NVENC cannot be opened, x264 encodes" in caplog.text
    with av.open(str(tmp_path / "b.mp4")) as written:
        assert sum(1 for _ in written.decode(video=0)) == 3


def test_only_h264_has_nvenc_with_a_quality_option_of_its_own(tmp_path: Path) -> None:
    codec = codec_for(tmp_path / "a.mp4", alpha=False)
    assert codec.nvenc is not None
    assert (codec.nvenc.name, codec.nvenc.quality_option, codec.nvenc.options["bf"]) == ("h264_nvenc", "cq", "0")
    assert codec_for(tmp_path / "a.webm", alpha=False).nvenc is None


@pytest.mark.gpu
def test_nvenc_writes_every_picture(tmp_path: Path) -> None:
    image = np.full((240, 320, 3), 128, np.uint8)
    results = [FrameResult(Frame(image, n, Fraction(1, 30), 0)) for n in range(30)]
    run_sink(VideoSink(tmp_path / "a.mp4", options=VideoConfig(h264=H264Encoder.NVENC)), results)
    with av.open(str(tmp_path / "a.mp4")) as written:
        frames = list(written.decode(video=0))
    assert len(frames) == 30
    assert abs(int(frames[-1].to_ndarray(format="rgb24").mean()) - 128) <= 4
