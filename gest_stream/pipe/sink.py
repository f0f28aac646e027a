"""Results painted into the frames they are of, and the stream around them put together again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import GestStreamError, SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.overlay import Renderer
from gest_stream.pipe.encoding import PipeOptions
from gest_stream.pipe.output import PipeOutput
from gest_stream.pipe.passage import Passage
from gest_stream.pipe.planes import layout_of, with_alpha
from gest_stream.pipe.repaint import Repainter
from gest_stream.pipe.source import PipeSource
from gest_stream.pipe.stdout import PipeFile
from gest_stream.sinks.threaded import ThreadedSink
from gest_stream.types import FrameResult

if TYPE_CHECKING:
    from gest_stream.audio import AudioFeed

_LOG = logging.getLogger(__name__)
_NAME = "standard output"


class PipeSink(ThreadedSink):
    """Writes the stream that `source` reads with the effect drawn into its pictures.

    Drawing has the sink's thread, encoding and writing another one, which also writes the packets of the other streams
    as they come. However the run ends, what was written is a whole stream, unless its reader is gone.

    Args:
        source: Whose results come.
        passage: What `source` hands its frames and packets to.
        file: Where the stream goes; it is not closed.
        effect: What is drawn; `transparent` gives pictures with alpha.
        options: Container and codec.
        ending: Whether the run is being ended, so that a reader who takes nothing is given up.

    Raises:
        ConfigError: The effect's background cannot be read.
    """

    def __init__(
        self,
        source: PipeSource,
        passage: Passage,
        file: BinaryIO,
        effect: EffectConfig,
        options: PipeOptions | None = None,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(_NAME)
        self._source = source
        self._passage = passage
        self._file = file
        self._effect = effect
        self._options = options or PipeOptions()
        self._ending = ending
        self._renderer = Renderer(effect)
        self._repainter: Repainter | None = None
        self._writer: _Writer | None = None

    def _open(self, info: SourceInfo, audio: AudioFeed | None) -> None:
        first = self._passage.first_frame()
        if first is None:
            raise SinkError(f"{self.name}: the source gave no frame to begin with")
        layout_of(first.format)
        pixel_format = with_alpha(first.format) if self._effect.kind is EffectKind.TRANSPARENT else first.format.name
        file = PipeFile(self._file, self.name, self._ending)
        self._repainter = Repainter()
        try:
            output = PipeOutput(file, self._source.parts, info, first, pixel_format, self._options)
        except BaseException:
            file.close()
            raise
        self._writer = _Writer(self._passage, output)
        self._writer.start()

    def _write(self, result: FrameResult) -> None:
        if self._writer is None or self._repainter is None:
            raise SinkError(f"{self.name}: not open; await open() first")
        self._writer.raise_error()
        original = self._passage.original_of(result.frame.seq)
        if original is not None:
            drawn = self._renderer.render(result)
            self._passage.paint(result.frame.seq, self._repainter.repaint(original, result.frame.image, drawn))

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        self._passage.finish()
        if writer is not None:
            writer.join()
            self._passage.close()
            writer.raise_error()


class _Writer(threading.Thread):
    """Writes what has passed until the passage ends."""

    def __init__(self, passage: Passage, output: PipeOutput) -> None:
        super().__init__(name="gest-stream-pipe-writer")
        self._passage = passage
        self._output = output
        self._error: Exception | None = None
        self._raised = False

    def run(self) -> None:
        """The thread."""
        try:
            self._passage.start()
            while (item := self._passage.take()) is not None:
                self._output.write(item)
            self._output.finish()
        except Exception as exc:
            self._error = exc
            self._passage.close()
            try:
                self._output.close()
            except Exception as again:
                _LOG.debug("%s: could not be finished after the earlier error: %s", _NAME, again)

    def raise_error(self) -> None:
        """Raise what ended the thread, once.

        Raises:
            SinkError: It could not write.
        """
        if self._error is None or self._raised:
            return
        self._raised = True
        if isinstance(self._error, GestStreamError):
            raise self._error
        raise SinkError(self._explain(self._error)) from self._error

    def _explain(self, exc: Exception) -> str:
        if isinstance(exc, BrokenPipeError):
            return f"{_NAME}: its reader has ended; {self._output.frames_written} frames had been written"
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
        return f"{_NAME}: cannot be written as {self._output.format}: {why}"
