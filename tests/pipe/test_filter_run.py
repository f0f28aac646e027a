"""How a filter's run begins and ends, in one process, on a scripted tracker: refused, cut off, stopped, failed."""

import io
import os
import threading
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest

from gest_stream.errors import ConfigError, InvalidInputError, ModelError, SinkError, SourceOpenError
from gest_stream.pipe.encoding import PipeOptions
from gest_stream.pipeline import Pipeline
from gest_stream.types import HandLandmarks
from tests.media import Clip
from tests.pipe.scripted import RAW, SIZE, Y4M, filtered, noise, one_hand, piped, read


def test_garbage_is_refused_before_anything_is_written() -> None:
    with pytest.raises(SourceOpenError, match="not a video that can be read from a pipe"):
        filtered(os.urandom(5000))


def test_an_empty_pipe_is_refused() -> None:
    with pytest.raises(SourceOpenError, match="standard input: is empty"):
        filtered(b"")


def test_a_stream_without_video_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="nut") as out:
        sound = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), layout="mono")
        tone.sample_rate, tone.pts, tone.time_base = 48_000, 0, Fraction(1, 48_000)
        out.mux(sound.encode(tone))
    with pytest.raises(SourceOpenError, match="holds no video, only audio"):
        filtered(file.getvalue())


@pytest.mark.parametrize("format", ["nut", "matroska", "yuv4mpegpipe"])
def test_an_input_that_is_cut_off_gives_a_whole_stream_of_what_came(format: str) -> None:
    data = piped(format, RAW)
    after = read(filtered(data[: int(len(data) * 0.6)]).data)
    assert 4 <= len(after.frames) <= 9
    assert after.times_s == read(data).times_s[: len(after.frames)]


def test_pictures_of_single_bits_are_refused_with_a_remedy() -> None:
    with pytest.raises(InvalidInputError, match="cannot draw on the pixel format mono.*convert it first"):
        filtered(_monochrome())


def _monochrome() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="nut") as out:
        stream = out.add_stream("rawvideo", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "monow"
        frame = av.VideoFrame.from_ndarray(noise(1), format="rgb24").reformat(format="monow")
        frame.pts, frame.time_base = 0, Fraction(1, 30)
        out.mux(stream.encode(frame))
    return file.getvalue()


def test_codecs_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(SinkError, match="'h265000': FFmpeg has no such encoder"):
        filtered(piped("nut", RAW), options=PipeOptions(codec="h265000"))
    with pytest.raises(ConfigError, match="y4m holds raw pictures only"):
        PipeOptions(Y4M, "libx264")
    with pytest.raises(ConfigError, match="--codec"):
        PipeOptions(codec_options={"crf": "3"})


def test_a_run_that_is_stopped_leaves_a_whole_stream() -> None:
    data = piped("nut", Clip(size=SIZE, frames=200, codec="rawvideo", audio="aac"))
    pipelines: list[Pipeline] = []

    def script(seq: int) -> Sequence[HandLandmarks]:
        if seq == 20:
            pipelines[0].stop()
        return one_hand(seq)

    done = filtered(data, script=script, during=pipelines.append)
    after = read(done.data)
    assert 20 <= len(after.frames) < 60
    assert len(after.frames) == done.stats.frames_done
    assert after.times_s == read(data).times_s[: len(after.frames)]


def test_a_model_that_fails_leaves_a_whole_stream() -> None:
    out = io.BytesIO()

    class Kept(io.RawIOBase):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return out.write(data)

    def script(seq: int) -> Sequence[HandLandmarks]:
        if seq == 8:
            raise ModelError("scripted")
        return one_hand(seq)

    with pytest.raises(ModelError, match="scripted"):
        filtered(piped("nut", RAW), script=script, out=Kept())  # type: ignore[arg-type]
    assert 1 <= len(read(out.getvalue()).frames) <= 8


def test_a_reader_that_goes_away_ends_the_run_with_one_clear_error() -> None:
    reading, writing = os.pipe()
    data = piped("nut", Clip(size=SIZE, frames=100, codec="rawvideo"))

    def take_some() -> None:
        taken = 0
        while taken < 100_000:
            taken += len(os.read(reading, 65536))
        os.close(reading)

    reader = threading.Thread(target=take_some)
    reader.start()
    with os.fdopen(writing, "wb", buffering=0) as out, pytest.raises(SinkError, match="its reader has ended") as caught:
        filtered(data, out=out)
    reader.join()
    assert isinstance(caught.value.__cause__, BrokenPipeError)


def test_frames_are_filtered_as_they_come_and_not_at_the_end() -> None:
    reading, writing = os.pipe()
    data = piped("nut", Clip(size=SIZE, frames=120, codec="rawvideo"))
    came = threading.Event()

    class Watched(io.RawIOBase):
        def write(self, payload: bytes) -> int:  # type: ignore[override]
            came.set()
            return len(payload)

    with os.fdopen(writing, "wb", buffering=0) as feed, os.fdopen(reading, "rb", buffering=0) as source:

        def write_and_wait() -> None:
            feed.write(data[: len(data) // 2])
            assert came.wait(20)  # the first pictures leave while the rest has not been sent
            feed.write(data[len(data) // 2 :])
            feed.close()

        writer = threading.Thread(target=write_and_wait)
        writer.start()
        stats = filtered(source, out=Watched()).stats  # type: ignore[arg-type]
        writer.join()
    assert stats.frames_done == 120
    assert came.is_set()
