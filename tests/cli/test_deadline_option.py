"""`--deadline`: what it takes, and what is built of it."""

from __future__ import annotations

import pytest
import typer

from gest_stream.build import models
from gest_stream.cli.choices import parse_milliseconds
from gest_stream.cli.settings import compose_config
from gest_stream.config import DeadlineConfig, PipelineConfig, SegmenterKind
from gest_stream.errors import ConfigError
from gest_stream.models.deadline import DeadlineSegmenter
from gest_stream.models.light import LightSegmenter


@pytest.mark.parametrize(("text", "expected"), [("33ms", 33.0), ("33", 33.0), (" 0.5 s", 500.0), ("1.5MS", 1.5)])
def test_a_duration_is_in_milliseconds_unless_it_says_otherwise(text: str, expected: float) -> None:
    assert parse_milliseconds(text) == expected


@pytest.mark.parametrize("text", ["0ms", "-3", "fast", "nan", "inf", "ms", ""])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write it as 33ms"):
        parse_milliseconds(text)


def test_a_deadline_wraps_the_segmenter_that_was_chosen() -> None:
    config = compose_config(None, ["segmenter=light"], {"deadline.limit_ms": 33.0})
    made = models.make_segmenter(config)
    assert isinstance(made, DeadlineSegmenter)
    made.close()
    assert isinstance(models.make_segmenter(PipelineConfig(segmenter=SegmenterKind.LIGHT)), LightSegmenter)


def test_landmarks_alone_have_no_deadline() -> None:
    config = PipelineConfig(segmenter=SegmenterKind.NONE, deadline=DeadlineConfig(limit_ms=33.0))
    assert models.make_segmenter(config) is None


@pytest.mark.parametrize("limit_ms", [0.0, -1.0, 1e5])
def test_a_deadline_that_means_nothing_is_refused(limit_ms: float) -> None:
    with pytest.raises(ConfigError, match="limit_ms: expected above 0 to 10000"):
        DeadlineConfig(limit_ms=limit_ms)
