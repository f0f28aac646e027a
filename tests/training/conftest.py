"""Rendered hands are made once for all tests of the room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gest_stream.training import rendered
from gest_stream.training.config import RenderConfig
from gest_stream.training.render_clips import ShardSpec, render_shard, shard_path, write_shard
from gest_stream.training.rendered import render_ahead

RENDER = RenderConfig(frames=32, frames_per_clip=4, longer_side=112, seed=2, workers=1)
SPEC = ShardSpec(RENDER.seed, RENDER.frames_per_clip, RENDER.longer_side)


@dataclass(frozen=True)
class Rendered:
    """Where the pictures of `RENDER` lie, and what was told when they were rendered."""

    root: Path
    told: list[tuple[int, int]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return next(self.root.iterdir())


@pytest.fixture(scope="session")
def rendered_hands(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Clips 0 and 2 were there before; a process of its own rendered the others."""
    found = Rendered(tmp_path_factory.mktemp("rendered"))
    folder = found.root / f"rendered-{rendered._fingerprint(SPEC)}"
    folder.mkdir()
    for number in (0, 2):
        write_shard(shard_path(folder, number), render_shard(SPEC, number))
    render_ahead(RENDER, found.root, lambda done, total: found.told.append((done, total)))
    return found
