"""Commands configure logging as a process does; tests put it back."""

import logging
from collections.abc import Iterator

import pytest

LOGGERS = ("gest_stream", "gest_stream.models.store")


@pytest.fixture(autouse=True)
def logging_is_put_back() -> Iterator[None]:
    before = [(log, log.level, list(log.handlers)) for log in map(logging.getLogger, LOGGERS)]
    yield
    for log, level, handlers in before:
        log.setLevel(level)
        log.handlers = handlers
