"""Source -> ring -> tracker -> sinks."""

from gest_stream.pipeline.run import Pipeline
from gest_stream.pipeline.stats import RunStats

__all__ = ["Pipeline", "RunStats"]
