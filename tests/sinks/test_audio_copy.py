import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from gest_stream.audio import AudioFeed
from gest_stream.sinks.audio_copy import canonical_codec
from gest_stream.sinks.video import VideoSink
from gest_stream.types import AudioFormat, AudioPacket, FrameResult
from tests.sinks.conftest import encoded_audio, info_of, result_at, run_sink

Audio = tuple[AudioFormat, list[AudioPacket]]


def record(path: Path, audio: Audio, frames: int = 60, max_packets: int = 4096) -> AudioFeed:
    """A video whose audio is published in step with its frames, and what is left after them."""
    format, packets = audio
    feed = AudioFeed(format, max_packets)
    waiting = list(packets)

    class Feeding:
        def __iter__(self) -> "Feeding":
            self.pts = -1
            return self

        def __next__(self) -> FrameResult:
            self.pts += 1
            while waiting and (waiting[0].pts * format.time_base <= Fraction(self.pts, 30) or self.pts == frames):
                feed.publish(waiting.pop(0))
            if self.pts == frames:
                raise StopIteration
            return result_at(self.pts)

    run_sink(VideoSink(path), Feeding(), info_of(), feed)
    return feed


def copied(path: Path) -> list[tuple[bytes, Fraction]]:
    with av.open(str(path)) as source:
        return [
            (bytes(packet), packet.pts * packet.time_base)
            for packet in source.demux(source.streams.audio[0])
            if packet.size and packet.pts is not None
        ]


def assert_same(path: Path, audio: Audio, tolerance: Fraction) -> None:
    format, packets = audio
    got = copied(path)
    assert [payload for payload, _ in got] == [packet.payload for packet in packets]
    wanted = [packet.pts * format.time_base for packet in packets]
    assert max(abs(time - want) for (_, time), want in zip(got, wanted, strict=True)) <= tolerance


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_aac_packets_come_out_byte_for_byte_at_their_time(tmp_path: Path, suffix: str, aac: Audio) -> None:
    path = tmp_path / f"out{suffix}"
    record(path, aac)
    assert aac[1][0].pts < 0  # AAC starts before 0: nothing may be shifted to make room for it
    assert_same(path, aac, Fraction(0) if suffix != ".mkv" else Fraction(1, 2000))
    with av.open(str(path)) as source:
        stream = source.streams.audio[0]
        assert stream.codec_context.extradata == aac[0].extradata
        assert (stream.codec_context.sample_rate, stream.layout.name) == (48_000, "stereo")
        assert len(list(source.decode(video=0))) == 60


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_opus_packets_come_out_byte_for_byte_at_their_time(tmp_path: Path, suffix: str, opus: Audio) -> None:
    path = tmp_path / f"out{suffix}"
    record(path, opus)
    assert_same(path, opus, Fraction(1, 2000))


@pytest.mark.parametrize(
    ("encoder", "container", "suffix"),
    [
        *(("libmp3lame", "mp3", suffix) for suffix in (".mp4", ".mov", ".mkv")),
        *(("flac", "matroska", suffix) for suffix in (".mp4", ".mkv")),
        *(("ac3", "matroska", suffix) for suffix in (".mp4", ".mov", ".mkv")),
        *(("eac3", "matroska", suffix) for suffix in (".mp4", ".mkv")),
        *(("alac", "mp4", suffix) for suffix in (".mp4", ".mov", ".mkv")),
        *(("mp2", "matroska", suffix) for suffix in (".mkv",)),
        *(("pcm_s16le", "wav", suffix) for suffix in (".mov", ".mkv")),
        *(("pcm_s24le", "wav", suffix) for suffix in (".mov", ".mkv")),
        *(("pcm_f32le", "wav", suffix) for suffix in (".mov", ".mkv")),
    ],
)
def test_other_codecs_are_copied_byte_for_byte(tmp_path: Path, encoder: str, container: str, suffix: str) -> None:
    audio = encoded_audio(encoder, container, seconds=0.5)
    path = tmp_path / f"out{suffix}"
    record(path, audio, frames=15)
    # .mov cuts PCM into chunks of its own
    assert b"".join(payload for payload, _ in copied(path)) == b"".join(packet.payload for packet in audio[1])
    with av.open(str(path)) as source:
        assert sum(frame.samples for frame in source.decode(audio=0)) >= 23_000


def test_the_video_keeps_its_pts_beside_audio_that_starts_earlier(tmp_path: Path, aac: Audio) -> None:
    record(tmp_path / "out.mp4", aac)
    with av.open(str(tmp_path / "out.mp4")) as source:
        times = [(frame.pts or 0) * (frame.time_base or 0) for frame in source.decode(video=0)]
    assert times == [Fraction(n, 30) for n in range(60)]


def test_audio_goes_on_to_its_end_where_the_video_ends_earlier(tmp_path: Path, aac: Audio) -> None:
    record(tmp_path / "out.mp4", aac, frames=10)
    assert len(copied(tmp_path / "out.mp4")) == len(aac[1])


@pytest.mark.parametrize(
    ("codec", "suffix", "remedy"),
    [
        ("opus", ".mp4", "name the output out.mkv to keep it"),
        ("vorbis", ".mp4", "name the output out.mkv to keep it"),
        ("flac", ".mov", "name the output out.mkv to keep it"),
        ("aac", ".webm", "name the output out.mkv to keep it"),
        ("wmav2", ".mp4", "convert the source's audio to AAC to keep it"),
        ("wmav2", ".mkv", "convert the source's audio to AAC to keep it"),
    ],
)
def test_audio_that_the_container_cannot_hold_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str, suffix: str, remedy: str
) -> None:
    path = tmp_path / f"out{suffix}"
    format = AudioFormat(codec, 48_000, "stereo", Fraction(1, 48_000))
    with caplog.at_level(logging.WARNING):
        record(path, (format, [AudioPacket(b"x", 0, 0, 1)]), frames=3)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: {codec} audio cannot be copied into {suffix}, so it is left out; {remedy}"
    ]
    with av.open(str(path)) as source:
        assert not source.streams.audio
        assert len(list(source.decode(video=0))) == 3


def test_packets_that_go_back_in_time_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, aac: Audio
) -> None:
    format, packets = aac
    bent = [*packets[:10], packets[4], *packets[10:]]
    with caplog.at_level(logging.WARNING):
        record(tmp_path / "out.mp4", (format, bent))
    assert_same(tmp_path / "out.mp4", aac, Fraction(0))
    assert "1 audio packets are missing (0 came faster than they were written, 1 went back in time)" in caplog.text


def test_packets_lost_to_a_full_queue_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, aac: Audio) -> None:
    with caplog.at_level(logging.WARNING):
        record(tmp_path / "out.mp4", aac, frames=10, max_packets=8)
    assert "came faster than they were written" in caplog.text


def test_broken_codec_configuration_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, aac: Audio
) -> None:
    format, packets = aac
    with caplog.at_level(logging.WARNING):
        record(tmp_path / "out.mp4", (replace(format, layout="nonsense"), packets))
    assert "out.mp4: aac audio cannot be copied, so it is left out: Invalid layout: nonsense" in caplog.text
    with av.open(str(tmp_path / "out.mp4")) as source:
        assert len(list(source.decode(video=0))) == 60


def test_decoder_names_are_mapped_to_codec_names() -> None:
    assert [canonical_codec(name) for name in ("mp3float", "aac", "libopus", "nonsense")] == [
        *("mp3", "aac", "opus", "nonsense")
    ]
