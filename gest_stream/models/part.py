"""What a download has brought so far: kept under a hidden name, so that the next try goes on from there.

Beside `model.pt` the cache folder may hold `.model.pt.part` (the bytes so far), `.model.pt.part.json` (of what they are
a part), `.model.pt.lock` (empty; locked by the process that writes to the part, and left there: deleting it could give
two processes the lock) and folders `.model.pt.*` (work that is worth nothing once its process has ended).
"""

from __future__ import annotations

import glob
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_log = logging.getLogger(__name__)

_LEFTOVER_AGE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Origin:
    """What a part is part of.

    Args:
        url: Where it was asked for.
        sha256: Of the whole file that was wanted.
        validator: What the server tells its versions apart by, to be sent as If-Range; None where it told none.
        total: Size of the whole file in bytes; None where the server did not tell.
    """

    url: str
    sha256: str
    validator: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The first bytes of a file.

    A part without a readable note of its origin is worth nothing: the note is written before the first byte.

    Args:
        path: Where the bytes are.
        lasting: Whether it is there for the next process too.
    """

    path: Path
    lasting: bool = True

    @property
    def size(self) -> int:
        """Bytes so far; 0 where there is no part."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def origin(self) -> Origin | None:
        """What it is part of; None where that is not known."""
        try:
            return Origin(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, origin: Origin | None) -> None:
        """Empty it, and note what it is going to be part of; None: nothing that can be continued."""
        self.delete()
        if origin is not None:
            self._note.write_text(json.dumps(asdict(origin)))
        self.path.touch()

    def delete(self) -> None:
        """Forget it. The bytes go before the note, so that a kill in between leaves no bytes of unknown origin."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def place(self, target: Path) -> None:
        """Rename it to `target`, which cannot be seen half done."""
        os.replace(self.path, target)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")


@contextmanager
def claimed_part(folder: Path, name: str, patience_s: float, on_wait: Callable[[], None]) -> Iterator[Part]:
    """The part of a file, for this process alone.

    While another process has it, this one waits, however long that takes, as long as the part grows: what the other
    one brings need not be fetched twice. Where it does not grow, or the file system has no locks, this process gets an
    empty part of its own, which does not outlive the block.

    Args:
        folder: The cache folder; it exists.
        name: File name there.
        patience_s: How long another process's part may stay as it is.
        on_wait: Called once if it has to wait.

    Yields:
        The part; whoever waited looks first whether the file is there by now.

    Raises:
        OSError: The folder cannot be written to.
    """
    from filelock import FileLock

    part = Part(folder / f".{name}.part")
    lock = FileLock(folder / f".{name}.lock")
    if _acquired(lock, part, patience_s, on_wait):
        try:
            yield part
        finally:
            lock.release()
    else:
        with private_folder(folder, name) as private:
            yield Part(private / name, lasting=False)


def _acquired(lock: BaseFileLock, part: Part, patience_s: float, on_wait: Callable[[], None]) -> bool:
    from filelock import Timeout

    patience, size = 0.0, part.size
    while True:
        try:
            lock.acquire(timeout=patience)
            return True
        except Timeout:
            if not patience:
                on_wait()
                patience = patience_s
            elif part.size == size:
                _log.info("%s: another process has it and brings nothing; fetching without it", part.path)
                return False
            size = part.size
        except (OSError, NotImplementedError) as exc:
            _log.info("%s: cannot be locked here (%s); fetching to a folder of its own", part.path, exc)
            return False


@contextmanager
def private_folder(folder: Path, name: str) -> Iterator[Path]:
    """An empty hidden folder for work on a file, on the same file system; gone after the block.

    Raises:
        OSError: `folder` cannot be written to.
    """
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as private:
        yield Path(private)


def sweep_leftovers(folder: Path, name: str, age_s: float = _LEFTOVER_AGE_S) -> None:
    """Delete the private folders of processes that were killed: those untouched for `age_s` seconds."""
    for entry in folder.glob(f".{glob.escape(name)}.*"):
        if entry.is_symlink() or not entry.is_dir():
            continue
        try:
            touched = max(path.stat().st_mtime for path in (entry, *entry.rglob("*")))
        except OSError:
            continue  # it is being deleted right now by the process that made it
        if time.time() - touched > age_s:
            _log.info("%s: left over from a process that was killed; deleted", entry)
            shutil.rmtree(entry, ignore_errors=True)
