from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import InvalidInputError, SourceLostError
from gest_stream.training import sam2_rendering
from gest_stream.training.sam2_rendered import RenderedClip, rendered_clips
from gest_stream.training.sam2_rendering import ClipShape, clip_path, render_training_clip, rendered_paths

SMALL = ClipShape(side=64, frames=2)


def test_a_training_clip_depends_on_its_number_alone() -> None:
    first, again, other = (render_training_clip(index, ClipShape(256, 1)) for index in (3, 3, 4))
    assert np.array_equal(first.images, again.images) and np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.images, other.images)


def test_what_is_missing_is_rendered_in_a_process_and_told(tmp_path: Path) -> None:
    clip = render_training_clip(1, SMALL)
    clip.save(clip_path(tmp_path, 1))
    before = clip_path(tmp_path, 1).stat().st_mtime_ns
    told: list[tuple[int, int]] = []
    paths = sam2_rendering.render_to_disk(tmp_path, SMALL, 3, 1, lambda done, total: told.append((done, total)))
    assert paths == rendered_paths(tmp_path) and len(paths) == 3
    assert told == [(2, 3), (3, 3)]
    assert clip_path(tmp_path, 1).stat().st_mtime_ns == before
    rendered = RenderedClip(paths[2], 64).take([0, 1], (0,))
    assert np.array_equal(rendered.images, render_training_clip(2, SMALL).images)


def test_a_process_that_ends_early_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(SourceLostError, match="ended early, 2 of 2 clips are missing"):
        sam2_rendering.render_to_disk(tmp_path, SMALL, 2, 1)


def test_a_larger_square_is_made_when_a_clip_is_read(tmp_path: Path) -> None:
    clip = render_training_clip(0, SMALL)
    clip.save(clip_path(tmp_path, 0))
    read = RenderedClip(clip_path(tmp_path, 0), 128)
    part = read.take([1, 0], read.startable(0))
    assert len(read) == 2 and read.startable(0) == clip.startable(0)
    assert part.images.shape == (2, 128, 128, 3) and part.masks.shape[-2:] == (128, 128)
    assert part.images[:, ::2, ::2].mean() == pytest.approx(clip.images.mean(), abs=2.0)
    assert part.landmarks is not None and clip.landmarks is not None
    assert np.array_equal(part.landmarks[0], clip.landmarks[1])  # of the frame before it was resized


def test_shapes_have_folders_of_their_own_and_eight_frames_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ClipShape]] = []

    def render(folder: Path, shape: ClipShape, clips: int, workers: int, on_done: object) -> list[Path]:
        asked.append((folder.name, shape))
        return [clip_path(folder, index) for index in range(clips)]

    monkeypatch.setattr("gest_stream.training.sam2_rendered.render_to_disk", render)
    assert len(rendered_clips(tmp_path, 256, 4, 3, 1)) == 3
    rendered_clips(tmp_path, 1024, 12, 3, 1)
    assert asked == [("sam2-clips-256x8", ClipShape(256, 8)), ("sam2-clips-512x12", ClipShape(512, 12))]


def test_a_damaged_clip_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = clip_path(tmp_path, 0)
    path.write_bytes(b"half a file")
    for use in (len, lambda clip: clip.take([0], (0,))):
        with pytest.raises(InvalidInputError, match=r"clip_00000\.npz: is damaged .* remove it"):
            use(RenderedClip(path, 64))
