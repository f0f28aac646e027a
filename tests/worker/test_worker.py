"""Hosts and a worker with scripted trackers, over real sockets and real memory."""

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.exchange.messages import Background, Effect, MessageType, Refusal, ResultFlag, SettingKey, Settings
from gest_stream.exchange.slots import Output, PixelFormat, Planes, Shape
from gest_stream.testing import hull_mask, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import HandLandmarks
from gest_stream.worker import HandChoice, ViewConfig, Worker
from tests.exchange.host import Host, equal, eventually, mapped_memfds, pattern
from tests.worker.scripted import LEFT_AT, RIGHT_AT, SIZE, Factory, two_hands, working
from tests.worker.test_pictures import BT601, encoded

RGBA = Shape(*SIZE, PixelFormat.RGBA, Output.FRAME)
MASK = replace(RGBA, output=Output.MASK)
PLAIN = EffectConfig(labels=False, feather_px=0)


def scene() -> NDArray[np.uint8]:
    """A soft picture: (H, W, 3) RGB."""
    across, down = np.meshgrid(np.linspace(40, 200, SIZE[0]), np.linspace(60, 180, SIZE[1]))
    return np.rint(np.dstack([across, down, 255 - across])).astype(np.uint8)


def hands_mask(seq: int = 0) -> NDArray[np.uint8]:
    """Where the scripted hands are, 0 or 255."""
    left, right = (hull_mask(hand, SIZE).full() for hand in two_hands(seq))
    return np.maximum(left, right)


def shown(path: Path, shape: Shape, planes: Planes, settings: Settings | None = None, frames: int = 1) -> Planes:
    """What a host gets for its last frame."""
    with Host(path, shape) as host:
        if settings is not None:
            host.send(settings)
        for _ in range(frames):
            there = host.exchange(planes)
        return there


def settings_of(**values: float) -> Settings:
    return Settings({SettingKey[name.upper()]: value for name, value in values.items()})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.sock"


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_hands_are_cut_out_of_every_format(path: Path, pixel_format: PixelFormat) -> None:
    shape = Shape(*SIZE, pixel_format, Output.FRAME)
    planes = encoded(scene(), pixel_format, BT601, alpha=200)
    with working(path, Factory(), ViewConfig(PLAIN)):
        there = shown(path, shape, planes, settings_of(effect=Effect.GREEN))
    inside = cv2.erode(hands_mask(), np.ones((5, 5))) > 0
    outside = cv2.dilate(hands_mask(), np.ones((5, 5))) == 0
    assert inside.sum() > 400
    green = encoded(np.full_like(scene(), (0, 177, 64)), pixel_format, BT601, alpha=200)
    before, after, colour = (plane[0].reshape(SIZE[1], SIZE[0], -1).astype(int) for plane in (planes, there, green))
    assert np.abs(after - before)[inside].max() <= 1
    assert np.abs(after - colour)[outside].max() <= 1


def test_the_effects_of_the_command_line_hold_where_the_host_is_silent(path: Path) -> None:
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, Factory(), ViewConfig(replace(PLAIN, kind=EffectKind.TRANSPARENT))):
        pixels = shown(path, RGBA, planes)[0].reshape(SIZE[1], SIZE[0], 4)
        echoed = shown(path, RGBA, planes, settings_of(effect=Effect.ECHO))
    assert np.array_equal(pixels[..., 3], hands_mask())
    inside = hands_mask() > 0
    assert np.array_equal(pixels[inside][:, :3], scene()[inside])
    assert not pixels[~inside].any()
    assert equal(echoed, planes)


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
@pytest.mark.parametrize("output", list(Output))
def test_echo_gives_the_frame_back_and_makes_no_tracker(path: Path, pixel_format: PixelFormat, output: Output) -> None:
    shape = Shape(51, 33, pixel_format, output)
    factory = Factory()
    with working(path, factory, ViewConfig(echo=True)):
        planes = pattern(shape)
        there = shown(path, shape, planes)
        assert equal(there, planes) if output is Output.FRAME else not there[0].any()
    assert not factory.detectors


def test_a_mask_has_the_hands_that_were_chosen(path: Path) -> None:
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, Factory(), ViewConfig(PLAIN)):
        both, left, right = (shown(path, MASK, planes, settings_of(hands=choice))[0] for choice in (0, 1, 2))
    assert np.array_equal(both, hands_mask())
    for mask, (x, _), (other_x, _) in ((left, LEFT_AT, RIGHT_AT), (right, RIGHT_AT, LEFT_AT)):
        columns = np.flatnonzero(mask.any(axis=0))
        assert abs(columns.mean() - x) < 8 < abs(columns.mean() - other_x)
    assert np.array_equal(np.maximum(left, right), both)


def test_a_worker_can_choose_the_hand_for_all(path: Path) -> None:
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, Factory(), ViewConfig(PLAIN, hands=HandChoice.LEFT)):
        mask = shown(path, MASK, planes)[0]
    assert mask[:, : SIZE[0] // 2].any() and not mask[:, SIZE[0] // 2 + 4 :].any()


def test_feathering_softens_the_mask(path: Path) -> None:
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, Factory(), ViewConfig(PLAIN)):
        hard, soft = (shown(path, MASK, planes, settings_of(feather_px=width))[0] for width in (0, 4))
    assert set(np.unique(hard)) == {0, 255}
    assert ((soft > 0) & (soft < 255)).sum() > 300
    assert abs(int(soft.sum()) - int(hard.sum())) < 0.02 * int(hard.sum())


def moving_hand(seq: int) -> Sequence[HandLandmarks]:
    return [make_landmarks((30 + 4 * seq, 32), 36)]


def test_smoothing_carries_a_part_of_the_mask_over(path: Path) -> None:
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, Factory(moving_hand), ViewConfig(PLAIN)):
        mask = shown(path, MASK, planes, settings_of(smoothing=0.5), frames=3)[0]
    first, second, third = (hull_mask(moving_hand(seq)[0], SIZE).full().astype(float) for seq in range(3))
    assert np.abs(mask - (0.25 * first + 0.25 * second + 0.5 * third)).max() <= 2


def test_with_mask_every_3_the_tracker_runs_on_every_third_frame(path: Path) -> None:
    factory = Factory(moving_hand)
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, factory, ViewConfig(PLAIN)), Host(path, MASK) as host:
        host.send(settings_of(mask_every=3))
        masks = [host.exchange(planes)[0] for _ in range(7)]
    assert factory.seqs == [0, 3, 6]
    for i, mask in enumerate(masks):
        assert np.array_equal(mask, hull_mask(moving_hand(i // 3 * 3)[0], SIZE).full())


def test_a_background_replaces_or_is_green_where_it_cannot_be_read(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((64, 96, 3), (0, 0, 255), np.uint8))
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, Factory(), ViewConfig(PLAIN)), Host(path, RGBA) as host:
        host.send(settings_of(effect=Effect.REPLACE))
        corners = []
        for background in (str(tmp_path / "red.png"), str(tmp_path / "absent.png"), ""):
            host.send(Background(background))
            corners.append(host.exchange(planes)[0][0, :4].tolist())
    assert corners == [[255, 0, 0, 255], [0, 177, 64, 255], [0, 177, 64, 255]]
    assert "absent.png cannot be read" in caplog.text


def test_two_hosts_have_trackers_of_their_own(path: Path) -> None:
    factory = Factory()
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    with working(path, factory, ViewConfig(PLAIN)) as worker:
        with Host(path, MASK) as a, Host(path, RGBA) as b:
            b.send(settings_of(effect=Effect.GREEN))
            for _ in range(4):
                a.submit(planes)
                green = b.exchange(planes)
                assert a.receive() is not None
                assert np.array_equal(a.output(0)[0], hands_mask())
                assert green[0][0, :4].tolist() == [0, 177, 64, 255]
            assert worker.trackers_in_use == 2
            assert sorted(factory.seqs) == [0, 0, 1, 1, 2, 2, 3, 3]
        eventually(lambda: worker.trackers_in_use == 0, "both trackers are given back")
    assert factory.open == 0


def test_a_host_that_dies_frees_its_tracker_and_memory(path: Path) -> None:
    factory = Factory()
    planes = encoded(scene(), PixelFormat.RGBA, BT601)
    before = mapped_memfds()
    with working(path, factory, ViewConfig(PLAIN)) as worker:
        with Host(path, MASK) as survivor:
            survivor.exchange(planes)
            host = Host(path, RGBA)
            host.exchange(planes)
            tracker = weakref.ref(factory.segmenters[1])
            host.close()
            eventually(lambda: factory.detectors[1].closed, "its tracker is closed")
            assert not factory.detectors[0].closed
            eventually(lambda: worker.hosts == 1 and mapped_memfds() == before + 2, "its memory is unmapped")
            factory.segmenters[1] = factory.segmenters[0]
            factory.detectors[1] = factory.detectors[0]
            eventually(lambda: (gc.collect(), tracker())[1] is None, "its tracker is freed")
            assert np.array_equal(survivor.exchange(planes)[0], hands_mask())
        eventually(lambda: mapped_memfds() == before, "the other's memory is unmapped")


def test_a_change_of_size_starts_the_hands_anew_with_the_same_tracker(path: Path) -> None:
    factory = Factory()
    larger = Shape(192, 128, PixelFormat.NV12, Output.MASK)
    with working(path, factory, ViewConfig(PLAIN)), Host(path, MASK) as host:
        host.send(settings_of(smoothing=0.9))
        host.exchange(pattern(MASK))
        assert host.greet(larger) is not None
        mask = host.exchange(pattern(larger))[0]
        assert len(factory.detectors) == 1
    expected = np.max([hull_mask(hand, (192, 128)).full() for hand in two_hands(0)], axis=0)
    assert np.array_equal(mask, expected)


class Gate:
    """Holds a script until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, seq: int) -> Sequence[HandLandmarks]:
        self.entered.set()
        assert self.open.wait(20)
        return two_hands(seq)


def test_the_newest_frame_wins_and_the_others_slots_come_back_at_once(path: Path) -> None:
    gate = Gate()
    factory = Factory(gate)
    planes = pattern(MASK)
    with working(path, factory, ViewConfig(PLAIN)), Host(path, MASK) as host:
        first = host.submit(planes, 0)
        assert gate.entered.wait(20)
        second, third = host.submit(planes, 1), host.submit(planes, 2)
        skipped = host.receive()  # while the first is still worked on
        assert skipped is not None
        assert (skipped.seq, skipped.slot, skipped.flags) == (second, 1, ResultFlag.SKIPPED)
        fourth = host.submit(planes, 1)
        skipped = host.receive()
        assert skipped is not None and (skipped.seq, skipped.flags) == (third, ResultFlag.SKIPPED)
        gate.open.set()
        answers = [host.receive(), host.receive()]
        assert [answer.seq for answer in answers if answer is not None and not answer.flags] == [first, fourth]
    assert factory.seqs == [0, 3]  # the tracker knows that frames were dropped


def failing(fail: Callable[[int], bool]) -> Callable[[int], Sequence[HandLandmarks]]:
    def script(seq: int) -> Sequence[HandLandmarks]:
        if fail(seq):
            raise RuntimeError("no luck")
        return two_hands(seq)

    return script


def test_a_frame_that_fails_is_told_and_the_next_one_is_tried(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    planes = pattern(MASK)
    with working(path, Factory(failing(lambda seq: 2 <= seq < 5)), ViewConfig(PLAIN)), Host(path, MASK) as host:
        flags = []
        for _ in range(8):
            host.submit(planes)
            result = host.receive()
            assert result is not None and result.type is MessageType.RESULT
            flags.append(result.flags)
    assert flags == [0, 0, *[ResultFlag.FAILED] * 3, 0, 0, 0]
    assert caplog.text.count("Traceback") == 1  # not for every frame


def test_a_host_whose_frames_all_fail_is_refused_and_others_go_on(path: Path) -> None:
    planes = pattern(MASK)
    bad = threading.Event()
    with working(path, Factory(failing(lambda seq: bad.is_set())), ViewConfig(PLAIN)), Host(path, MASK) as other:
        other.send(settings_of(effect=Effect.ECHO))
        bad.set()
        with Host(path, MASK) as host:
            results = []
            for _ in range(10):
                host.submit(planes)
                results.append(host.receive())
            assert all(result is not None and result.flags == ResultFlag.FAILED for result in results)
            refusal = host.receive()
            assert refusal is not None and (refusal.type, refusal.flags) == (MessageType.REFUSE, Refusal.FAILED)
            assert host.ended()
        assert not other.exchange(planes)[0].any()


def test_a_model_that_cannot_be_loaded_refuses_the_host(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def make() -> TrackerCore:
        raise RuntimeError("out of memory")

    with working(path, make, ViewConfig(echo=True)), Host(path, MASK) as host:
        assert not host.exchange(pattern(MASK))[0].any()
        host.send(settings_of(effect=Effect.OVERLAY))
        host.submit(pattern(MASK))
        result, refusal = host.receive(), host.receive()
        assert result is not None and result.flags == ResultFlag.FAILED
        assert refusal is not None and refusal.flags == Refusal.FAILED
    assert "out of memory" in caplog.text


def test_a_host_that_leaves_while_its_frame_is_worked_on_is_cleaned_up(path: Path) -> None:
    gate = Gate()
    factory = Factory(gate)
    before = mapped_memfds()
    with working(path, factory, ViewConfig(PLAIN)) as worker:
        host = Host(path, RGBA)
        host.submit(pattern(RGBA))
        assert gate.entered.wait(20)
        host.close()
        eventually(lambda: worker.hosts == 0, "the host is let go")
        gate.open.set()
        eventually(lambda: factory.detectors[0].closed, "its tracker is closed")
        eventually(lambda: mapped_memfds() == before, "its memory is unmapped")


def test_the_end_closes_hosts_trackers_and_the_socket(path: Path) -> None:
    factory = Factory()
    threads = threading.active_count()
    with working(path, factory, ViewConfig(PLAIN)):
        hosts = [Host(path, MASK) for _ in range(3)]
        for host in hosts:
            host.exchange(pattern(MASK))
        assert factory.open == 3
    assert factory.open == 0
    assert not path.exists()
    assert threading.active_count() == threads
    for host in hosts:
        assert host.ended()
        host.close()


def test_more_hosts_than_allowed_are_refused(path: Path) -> None:
    with working(path, Factory(), max_hosts=1), Host(path, MASK), Host(path, MASK, greet=False) as second:
        refusal = second.receive()
        assert refusal is not None and refusal.flags == Refusal.BUSY


def test_a_worker_that_is_stopped_before_it_serves_ends_at_once(path: Path) -> None:
    with Worker(path, Factory()) as worker:
        worker.stop()
        worker.serve()


def test_the_log_names_each_host_once_when_it_comes_and_goes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gest_stream")
    with working(path, Factory(), ViewConfig(PLAIN)) as worker:
        with Host(path, MASK) as host:
            host.exchange(pattern(MASK))
            host.exchange(pattern(MASK))
        eventually(lambda: worker.hosts == 0, "the host is let go")
    lines = [record.getMessage() for record in caplog.records if "host 1" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].endswith("96x64 RGBA to mask")
    assert lines[1].endswith("has gone after 2 frames")
