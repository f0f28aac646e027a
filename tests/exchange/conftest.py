"""A server for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.serving import Served, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "w.sock") as it:
        yield it
