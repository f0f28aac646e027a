import gc
from pathlib import Path

import av

from gest_stream.sources.picture import RgbConverter
from tests.media import Clip, make_clip


def test_converted_frames_are_freed_without_the_cycle_collector(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", Clip(frames=60, rotation=90))
    converter = RgbConverter()
    gc.collect()
    gc.disable()
    try:
        with av.open(str(path)) as container:
            count = sum(1 for frame in container.decode(video=0) if converter.convert(frame).size)
        unreachable = gc.collect()
    finally:
        gc.enable()
    assert count == 60
    assert unreachable < count
