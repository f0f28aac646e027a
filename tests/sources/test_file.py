import asyncio
import logging
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.errors import SourceError
from gest_stream.sources.file import FileSource
from gest_stream.types import Frame
from tests.media import QUADRANTS, Clip, make_clip, number_of, quadrants
from tests.sources.running import FakeTime, needed_clip, read_all

VFR_MS = (0, 33, 50, 120, 121, 300, 301, 302, 500, 900)


def packet_pts(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return sorted(p.pts for p in container.demux(video=0) if p.pts is not None)


def corners(image: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Colours in the middle of the four quarters, in the order of `QUADRANTS`."""
    height, width = image.shape[:2]
    return [
        tuple(int(v) for v in image[y, x]) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)
    ]


def worst_difference(image: NDArray[np.uint8], expected: tuple[tuple[int, int, int], ...] = QUADRANTS) -> int:
    return int(np.abs(np.array(corners(image)) - np.array(expected)).max())


@pytest.mark.clips
@pytest.mark.parametrize(("name", "count"), [("two_hands.mp4", 210), ("egocentric.mp4", 241)])
def test_every_frame_of_a_real_clip_comes_with_its_own_pts(name: str, count: int) -> None:
    path = needed_clip(name)
    seen: list[tuple[int, int, tuple[int, int]]] = []

    async def run() -> None:
        async with FileSource(path) as source:
            async for frame in source:
                seen.append((frame.pts, frame.seq, frame.size))
            assert {size for _, _, size in seen} == {source.info.size}

    asyncio.run(run())
    assert len(seen) == count
    assert [pts for pts, _, _ in seen] == packet_pts(path)
    assert [seq for _, seq, _ in seen] == list(range(count))


def test_frames_come_in_order_with_their_pictures(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", Clip(frames=20))
    frames = read_all(FileSource(path))
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    assert all(frame.captured_ns > 0 and frame.image.flags.c_contiguous for frame in frames)


def test_info_tells_size_rate_and_count(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", Clip(rate=Fraction(30_000, 1001)))

    async def run() -> None:
        async with FileSource(path) as source:
            info = source.info
            assert (info.name, info.live, info.size) == (str(path), False, (64, 48))
            assert (info.average_rate, info.frame_count) == (Fraction(30_000, 1001), 10)
            assert (await anext(aiter(source))).time_base == info.time_base

    asyncio.run(run())


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_variable_frame_rate_keeps_its_exact_times(tmp_path: Path, suffix: str) -> None:
    clip = Clip(pts=VFR_MS, time_base=Fraction(1, 1000))
    frames = read_all(FileSource(make_clip(tmp_path / f"clip{suffix}", clip)))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(ms, 1000) for ms in VFR_MS]


@pytest.mark.parametrize(
    ("rotation", "order", "size"),
    [
        # Counter-clockwise: a quarter turn brings the top right corner to the top left.
        (90, (1, 3, 0, 2), (48, 64)),
        (180, (3, 2, 1, 0), (64, 48)),
        (270, (2, 0, 3, 1), (48, 64)),
    ],
)
def test_a_rotated_recording_is_turned_upright(
    tmp_path: Path, rotation: int, order: tuple[int, ...], size: tuple[int, int]
) -> None:
    clip = Clip(rotation=rotation, images=[quadrants()], frames=2)
    source = FileSource(make_clip(tmp_path / "clip.mp4", clip))
    frames = read_all(source)
    assert source.info.size == frames[0].size == size
    assert worst_difference(frames[0].image, tuple(QUADRANTS[i] for i in order)) <= 6


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "order"),
    [
        (-1, 0, 0, 1, (1, 0, 3, 2)),  # left to right
        (1, 0, 0, -1, (2, 3, 0, 1)),  # top to bottom
        (0, 1, 1, 0, (0, 2, 1, 3)),  # over the diagonal
        (0, -1, -1, 0, (3, 1, 2, 0)),  # over the other diagonal
    ],
)
def test_a_mirrored_recording_is_mirrored_back(
    tmp_path: Path, a: int, b: int, c: int, d: int, order: tuple[int, ...]
) -> None:
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    clip = Clip(display_matrix=matrix, images=[quadrants()], frames=1)
    [frame] = read_all(FileSource(make_clip(tmp_path / "clip.mp4", clip)))
    assert worst_difference(frame.image, tuple(QUADRANTS[i] for i in order)) <= 6


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
def test_declared_colour_matrix_and_range_are_honoured(tmp_path: Path, matrix: str, full_range: bool) -> None:
    clip = Clip(matrix=matrix, full_range=full_range, images=[quadrants()], frames=1)
    [frame] = read_all(FileSource(make_clip(tmp_path / "clip.mp4", clip)))
    assert worst_difference(frame.image) <= 6


def test_a_video_that_declares_no_matrix_is_taken_as_bt601_limited(tmp_path: Path) -> None:
    declared = Clip(matrix="ITU601", full_range=False, images=[quadrants()], frames=1)
    [expected] = read_all(FileSource(make_clip(tmp_path / "declared.mp4", declared)))
    undeclared = Clip(images=[quadrants()], frames=1)
    [frame] = read_all(FileSource(make_clip(tmp_path / "undeclared.mp4", undeclared)))
    np.testing.assert_array_equal(frame.image, expected.image)


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("ten_bit.mkv", Clip(pix_fmt="yuv420p10le", images=[quadrants()], frames=1)),
        ("full_chroma.mp4", Clip(pix_fmt="yuv444p", images=[quadrants()], frames=1)),
        ("jpeg.avi", Clip(codec="mjpeg", pix_fmt="yuvj420p", images=[quadrants()], frames=1)),
        ("mpeg4.avi", Clip(codec="mpeg4", images=[quadrants()], frames=1)),
    ],
)
def test_bit_depths_and_samplings_come_out_in_the_same_colours(tmp_path: Path, name: str, clip: Clip) -> None:
    [frame] = read_all(FileSource(make_clip(tmp_path / name, clip)))
    assert worst_difference(frame.image) <= 12


def test_a_lossless_odd_sized_picture_comes_out_bit_for_bit(tmp_path: Path) -> None:
    image = np.random.default_rng(5).integers(0, 256, (241, 321, 3), np.uint8)
    clip = Clip(size=(321, 241), codec="ffv1", pix_fmt="bgr0", images=[image], frames=2)
    frames = read_all(FileSource(make_clip(tmp_path / "clip.mkv", clip)))
    assert len(frames) == 2
    for frame in frames:
        np.testing.assert_array_equal(frame.image, image)


def test_a_raw_stream_without_timestamps_gets_them_from_its_rate(tmp_path: Path) -> None:
    frames = read_all(FileSource(make_clip(tmp_path / "clip.h264", Clip(frames=6))))
    assert len(frames) == 6
    steps = {(b.pts - a.pts) * a.time_base for a, b in zip(frames, frames[1:], strict=False)}
    assert steps in ({Fraction(1, 25)}, {Fraction(1, 30)})


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "aac"), ("clip.mkv", "libopus"), ("clip.ts", "aac")])
def test_audio_packets_are_passed_on_byte_for_byte(tmp_path: Path, name: str, codec: str) -> None:
    path = make_clip(tmp_path / name, Clip(audio=codec))
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        expected = [(bytes(p), p.pts, p.dts, p.duration) for p in container.demux(stream) if p.size]
        time_base = stream.time_base

    async def run() -> None:
        async with FileSource(path) as source:
            assert source.audio is not None
            reader = source.audio.reader()
            count = len([frame async for frame in source])
            got = [(p.payload, p.pts, p.dts, p.duration) for p in reader.take()]
            assert count == 10
            assert got == expected
            assert len(got) > 10
            assert source.audio.format.codec == codec.removeprefix("lib")
            assert (source.audio.format.sample_rate, source.audio.format.layout) == (48_000, "stereo")
            assert source.audio.format.time_base == time_base

    asyncio.run(run())


def test_audio_moves_with_the_pictures_where_the_clock_starts_again(tmp_path: Path) -> None:
    part = make_clip(tmp_path / "part.ts", Clip(frames=60, audio="aac"))
    path = tmp_path / "twice.ts"
    path.write_bytes(part.read_bytes() * 2)

    async def run() -> None:
        async with FileSource(path) as source:
            assert source.audio is not None
            reader = source.audio.reader()
            seconds = [frame.time_s async for frame in source]
            sound = [float(p.dts * source.audio.format.time_base) for p in reader.take()]
            assert len(seconds) == 120
            assert all(b - a == pytest.approx(1 / 30, abs=1e-3) for a, b in zip(seconds, seconds[1:], strict=False))
            assert sound[-1] == pytest.approx(seconds[-1], abs=0.2)
            # At the joint the first part's sound overlaps the second's by two packets at most; no other may be lost.
            assert max(b - a for a, b in zip(sound, sound[1:], strict=False)) < 2 * 1024 / 48_000
            assert all(a < b for a, b in zip(sound, sound[1:], strict=False))

    asyncio.run(run())


def test_a_silent_file_has_no_audio(tmp_path: Path) -> None:
    source = FileSource(make_clip(tmp_path / "clip.mp4"))
    read_all(source)
    assert source.audio is None


def test_realtime_stamps_each_frame_at_the_moment_it_is_due(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", Clip(pts=VFR_MS, time_base=Fraction(1, 1000)))
    time = FakeTime()
    source = FileSource(path, realtime=True, clock=time.clock, wait=time.wait)
    frames = read_all(source)
    assert source.info.live
    assert source.stats.pushed == 10
    assert frames[-1].pts == 900
    for frame in frames:
        assert frame.captured_ns == 1_000_000_000 + frame.pts * 1_000_000
    assert sum(time.waits_s) == pytest.approx(0.9)


def test_a_file_is_not_read_before_its_first_frame_is_asked_for(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")

    async def run() -> None:
        async with FileSource(path) as source:
            await asyncio.sleep(0)
            assert source.stats.pushed == 0
            assert [frame.seq async for frame in source] == list(range(10))

    asyncio.run(run())


def test_a_slow_consumer_loses_no_frame_and_holds_back_the_reader(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", Clip(frames=30))

    async def run() -> None:
        async with FileSource(path) as source:
            seen = 0
            async for frame in source:
                seen += 1
                assert frame.seq == seen - 1
                assert source.stats.pushed - source.stats.taken <= 2
            assert (seen, source.stats.dropped) == (30, 0)

    asyncio.run(run())


def test_stop_ends_the_iteration_and_joins_the_worker(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", Clip(frames=50))

    async def run() -> list[Frame]:
        source = FileSource(path)
        got = []
        async with source:
            async for frame in source:
                got.append(frame)
                if len(got) == 3:
                    stopper = threading.Thread(target=source.stop)
                    stopper.start()
                    stopper.join()
        assert threading.active_count() == before
        return got

    before = threading.active_count()
    assert len(asyncio.run(run())) == 3


def test_stop_wakes_a_realtime_source_that_waits_for_a_frame_to_be_due(tmp_path: Path) -> None:
    # Frames 9 s apart: without waking, this test would take as long.
    path = make_clip(tmp_path / "clip.mkv", Clip(frames=3, pts=(0, 9000, 18_000), time_base=Fraction(1, 1000)))

    async def run() -> int:
        count = 0
        async with FileSource(path, realtime=True) as source:
            async for _ in source:
                count += 1
                asyncio.get_running_loop().call_later(0.01, source.stop)
        return count

    assert asyncio.run(asyncio.wait_for(run(), 5)) == 1


def test_a_cancelled_reader_leaves_no_thread(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", Clip(frames=3, pts=(0, 9000, 18_000), time_base=Fraction(1, 1000)))

    async def read() -> None:
        async with FileSource(path, realtime=True) as source:
            async for _ in source:
                started.set()

    async def run() -> None:
        task = asyncio.create_task(read())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    asyncio.run(asyncio.wait_for(run(), 5))


def test_an_error_of_the_consumer_leaves_no_thread(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", Clip(frames=50))

    async def run() -> None:
        async with FileSource(path) as source:
            async for _ in source:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())


def test_info_before_entering_says_what_to_do() -> None:
    with pytest.raises(SourceError, match=r"clip.mp4: is not open yet; enter it with 'async with' first"):
        _ = FileSource("clip.mp4").info


def test_a_source_is_used_once(tmp_path: Path) -> None:
    source = FileSource(make_clip(tmp_path / "clip.mp4"))
    read_all(source)
    with pytest.raises(SourceError, match="was already used; make a new source for every run"):
        read_all(source)


def test_a_size_that_changes_midway_is_delivered_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [make_clip(tmp_path / f"{w}.h264", Clip(size=(w, h), frames=4)) for w, h in ((64, 48), (96, 64))]
    path = tmp_path / "joined.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with caplog.at_level(logging.WARNING):
        frames = read_all(FileSource(path))
    assert [frame.size for frame in frames] == [(64, 48)] * 4 + [(96, 64)] * 4
    assert [r.getMessage() for r in caplog.records] == [f"{path}: the picture size changed from 64x48 to 96x64"]


def test_a_name_with_a_colon_is_a_file_not_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "clip.mp4").rename(tmp_path / "take:1.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read_all(FileSource("take:1.mp4"))) == 10
