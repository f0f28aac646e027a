"""Which trackers there are, and when they are closed."""

import threading

import pytest

from gest_stream.errors import WeightsError
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.worker.trackers import Trackers
from tests.worker.scripted import Factory


def test_the_first_host_gets_the_one_that_is_ready() -> None:
    factory = Factory()
    trackers = Trackers(factory)
    trackers.prepare()
    trackers.prepare()
    assert len(factory.detectors) == 1
    trackers.take()
    assert len(factory.detectors) == 1
    trackers.prepare()  # there is one in use: none in reserve
    assert len(factory.detectors) == 1


def test_every_host_has_its_own() -> None:
    trackers = Trackers(Factory())
    assert trackers.take() is not trackers.take()
    assert trackers.in_use == 2


def test_one_that_is_given_back_is_closed_and_never_used_again() -> None:
    factory = Factory()
    trackers = Trackers(factory)
    first, second = trackers.take(), trackers.take()
    trackers.give_back(first)
    assert [detector.closed for detector in factory.detectors] == [True, False]
    trackers.give_back(second)
    assert [detector.closed for detector in factory.detectors] == [True, True, False]  # a spare one for the next host
    assert trackers.take() not in (first, second)
    assert trackers.in_use == 1


def test_the_spare_one_is_closed_in_the_end_and_none_is_made_after() -> None:
    factory = Factory()
    trackers = Trackers(factory)
    used = trackers.take()
    trackers.close()
    trackers.give_back(used)
    assert factory.open == 0
    assert len(factory.detectors) == 1


def test_one_that_is_being_made_is_waited_for() -> None:
    making, go_on = threading.Event(), threading.Event()
    factory = Factory()

    def make() -> TrackerCore:
        making.set()
        assert go_on.wait(20)
        return factory()

    trackers = Trackers(make)
    ahead = threading.Thread(target=trackers.prepare)
    ahead.start()
    assert making.wait(20)
    taken: list[TrackerCore] = []
    host = threading.Thread(target=lambda: taken.append(trackers.take()))
    host.start()
    go_on.set()
    ahead.join()
    host.join()
    assert len(factory.detectors) == 1 and len(taken) == 1


def test_a_model_that_cannot_be_loaded_is_told_and_tried_again() -> None:
    failing = True
    factory = Factory()

    def make() -> TrackerCore:
        if failing:
            raise WeightsError("no weights")
        return factory()

    trackers = Trackers(make)
    with pytest.raises(WeightsError):
        trackers.prepare()
    with pytest.raises(WeightsError):
        trackers.take()
    assert trackers.in_use == 0
    failing = False
    used = trackers.take()
    failing = True
    trackers.give_back(used)  # no spare one can be made: logged
    assert trackers.in_use == 0
