import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    """Every source must have joined its thread by the end of its test."""
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("gest-source")]
    assert left == []
