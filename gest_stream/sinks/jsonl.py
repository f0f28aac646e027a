"""JSON lines: one object a frame, one frame a line, flushed as it is written.

Every line is one object of schema version 1, described in full by `result_v1.schema.json` beside this file:

    {"v": 1,                            version of the schema
     "seq": 0,                          running count of the source's frames; a gap is a dropped frame
     "pts": 0, "time_base": "1/30",     media time, exactly as the source gave it
     "time_s": 0.0,                     pts * time_base, seconds
     "size": [W, H],                    of the frame, pixels
     "tracks": [                        every live hand, ordered by id; [] where there is none
       {"id": 1, "state": "tracked", "handedness": "right", "score": 0.98,
        "box_xyxy_px": [x0, y0, x1, y1] or null,
        "landmarks_px": [[x, y, z], … 21] or null,
        "landmarks_world_m": [[x, y, z], … 21] or null,
        "mask_rle": {"size": [H, W], "counts": "…"} or null,    COCO's compressed run lengths over the whole frame
                                                              (`gest_stream.sinks.mask_rle.decode_rle` reads them)
        "mask_score": 0.97 or null,
        "mask_source": "light" or null,         what made it: the segmenter, "carried" from an earlier frame, or "shape"
                                                of the landmarks, as the segmenter has not answered yet
        "mask_age_ms": 0.0 or null,             how much earlier the frame is that the segmenter made it of
        "reinitialised_by": null, "landmarks", "dino", "builtin" or "user",   what found the hand again
        "reinitialised_seq": 812 or null,       frame on which that saw it
        "reinitialised_score": 0.93 or null}],  how surely
     "timings_ms": {"total": 21.4, …}}  milliseconds by stage

Pixels are rounded to 0.01, metres to 0.00001, scores to 0.0001 and milliseconds to 0.001.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.mask_rle import encode_rle
from gest_stream.sinks.output_path import check_output_file, explain_os_error
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult, Track

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed

SCHEMA_VERSION = 1

_PX_DIGITS = 2
_METRE_DIGITS = 5
_SCORE_DIGITS = 4
_MS_DIGITS = 3


def _rounded(points: NDArray[np.float32], digits: int) -> list[list[float]]:
    return [[round(value, digits) for value in point] for point in points.tolist()]


def track_record(track: Track, masks: bool = True) -> dict[str, Any]:
    """One hand as plain JSON values, schema version 1; without `masks` it lacks `mask_rle`, which takes the longest."""
    landmarks, mask, box, found = track.landmarks, track.mask, track.box_xyxy_px, track.reinitialisation
    world = landmarks.points_world_m if landmarks is not None else None
    return {
        "id": track.id,
        "state": str(track.state),
        "handedness": str(track.handedness),
        "score": round(track.score, _SCORE_DIGITS),
        "box_xyxy_px": [round(value, _PX_DIGITS) for value in box] if box is not None else None,
        "landmarks_px": _rounded(landmarks.points_px, _PX_DIGITS) if landmarks is not None else None,
        "landmarks_world_m": _rounded(world, _METRE_DIGITS) if world is not None else None,
        **({"mask_rle": encode_rle(mask) if mask is not None else None} if masks else {}),
        "mask_score": round(mask.score, _SCORE_DIGITS) if mask is not None else None,
        "mask_source": str(mask.source) if mask is not None else None,
        "mask_age_ms": round(mask.age_ms, _MS_DIGITS) if mask is not None else None,
        "reinitialised_by": str(found.by) if found is not None else None,
        "reinitialised_seq": found.seq if found is not None else None,
        "reinitialised_score": round(found.score, _SCORE_DIGITS) if found is not None else None,
    }


def result_record(result: FrameResult, masks: bool = True) -> dict[str, Any]:
    """A result as plain JSON values, schema version 1; `masks` as for `track_record`."""
    frame = result.frame
    return {
        "v": SCHEMA_VERSION,
        "seq": frame.seq,
        "pts": frame.pts,
        "time_base": f"{frame.time_base.numerator}/{frame.time_base.denominator}",
        "time_s": round(frame.time_s, 6),
        "size": [frame.width, frame.height],
        "tracks": [track_record(track, masks) for track in result.tracks],
        "timings_ms": {stage: round(float(ms), _MS_DIGITS) for stage, ms in result.timings_ms.items()},
    }


def result_line(result: FrameResult) -> str:
    """A result as one line of JSON, without the newline."""
    return json.dumps(result_record(result), separators=(",", ":"), allow_nan=False)


class JsonlSink(ThreadedSink):
    """Writes every result as one line of JSON; a reader may follow the file while it grows.

    A file that was there is replaced.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._file: IO[str] | None = None

    def _explain(self, exc: Exception) -> str:
        return explain_os_error(self._path, exc) if isinstance(exc, OSError) else super()._explain(exc)

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        check_output_file(self._path.absolute(), info.name)
        self._file = self._path.open("w", encoding="utf-8", newline="\n")

    def _write(self, result: FrameResult) -> None:
        assert self._file is not None
        line = result_line(result)
        self._file.write(line + "\n")
        self._file.flush()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
