"""The browser that these tests share; it ends with them, because it holds the port of mDNS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.stage import Stage


@pytest.fixture(scope="package")
def stage() -> Iterator[Stage]:
    pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")
    from tests.browser.stage import CHROMIUM, Stage

    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} here: apt-get install chromium")
    stage = Stage()
    yield stage
    stage.close()
