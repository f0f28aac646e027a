"""A folder of PNG masks, one a frame; a pixel's value is the id of its track."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.output_path import check_output_folder, explain_os_error
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed

_MAX_ID = 0xFFFF


def label_picture(result: FrameResult) -> NDArray[np.uint16]:
    """The id of the track at every pixel, 0 where there is no hand; (H, W) uint16.

    Where masks overlap, which the segmenters avoid, the later id wins. Ids beyond 65535 do not fit and start again
    from 1.
    """
    labels = np.zeros((result.frame.height, result.frame.width), np.uint16)
    for track in result.tracks:
        if track.mask is not None:
            labels[track.mask.slices][track.mask.inside] = (track.id - 1) % _MAX_ID + 1
    return labels


class MaskFolderSink(ThreadedSink):
    """Writes `00000000.png`, `00000001.png`, … named by the frame's seq, 16 bit grey.

    The folder is made where it is absent (its parent must be there). Files of an earlier run are replaced one by one;
    those with a higher seq stay.

    Args:
        folder: Where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def _explain(self, exc: Exception) -> str:
        return explain_os_error(self._folder, exc) if isinstance(exc, OSError) else super()._explain(exc)

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        folder = self._folder.absolute()
        if not folder.exists():
            check_output_folder(folder.parent)
            folder.mkdir()
        check_output_folder(folder)

    def _write(self, result: FrameResult) -> None:
        import cv2

        # Encoded in memory: cv2.imwrite answers a full disk with False and no reason.
        done, encoded = cv2.imencode(".png", label_picture(result))
        if not done:
            raise SinkError(f"{self._folder}: OpenCV could not encode a {result.frame.size} mask as PNG")
        (self._folder / f"{result.frame.seq:08d}.png").write_bytes(encoded.tobytes())

    def _close(self) -> None:
        """Every picture is complete once it is written."""
