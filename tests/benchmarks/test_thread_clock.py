import sys
import threading
import time

import pytest

from benchmarks.thread_clock import ThreadClock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Burner:
    """A thread that spends some processor time and then stays until it is let go."""

    def __init__(self, name: str, cpu_s: float) -> None:
        self._cpu_s = cpu_s
        self.spent, self.may_end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._burn, name=name)

    def _burn(self) -> None:
        start = time.thread_time()
        while time.thread_time() - start < self._cpu_s:
            pass
        self.spent.set()
        self.may_end.wait()


def test_time_is_told_by_the_threads_that_spent_it() -> None:
    burners = [Burner("gest-stream-segment", 0.2), Burner("something else", 0.1)]
    with ThreadClock() as clock:
        for burner in burners:
            burner.thread.start()
        for burner in burners:
            burner.spent.wait()
    for burner in burners:
        burner.may_end.set()
        burner.thread.join()
    spent = clock.ms_by_work(2)
    assert spent["track and segment"] == pytest.approx(100.0, rel=0.3)
    assert spent["encoder and other native threads"] >= 50.0
