"""What can be wrong with the path of an output, and what to do about it."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

from gest_stream.errors import SinkError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or write to another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or write to another disk",
    errno.EFBIG: "the file would grow past the size that is allowed here; raise `ulimit -f` or write to another disk",
    errno.EACCES: "no permission to write there; choose another folder or change its permissions",
    errno.EPERM: "no permission to write there; choose another folder or change its permissions",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.EIO: "the disk reports an input/output error; write to another disk",
}


def explain_os_error(path: Path, exc: BaseException) -> str:
    """The message for an error met while writing `path`, with the remedy where it is known."""
    code = getattr(exc, "errno", None)
    reason = os.strerror(code) if isinstance(code, int) and 0 < code < 1000 else (str(exc) or type(exc).__name__)
    remedy = _REMEDIES.get(code) if isinstance(code, int) else None
    return f"{path}: cannot write: {reason}" + (f"; {remedy}" if remedy else "")


def check_output_folder(folder: Path) -> None:
    """Refuse a folder that is absent, not a folder, or not writable.

    Raises:
        SinkError: With the command that helps.
    """
    if not folder.exists():
        raise SinkError(f"{folder}: the folder does not exist; create it: mkdir -p {shlex.quote(str(folder))}")
    if not folder.is_dir():
        raise SinkError(f"{folder}: not a folder; choose another place for the output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"{folder}: {_REMEDIES[errno.EACCES]}")


def check_output_file(path: Path, source_name: str) -> None:
    """Refuse a file that cannot be written, or that is the input.

    Args:
        path: Where the output goes; a file already there is going to be replaced.
        source_name: What the user called the source; a path where it is a file.

    Raises:
        SinkError: With the remedy.
    """
    check_output_folder(path.parent)
    if path.is_dir():
        raise SinkError(f"{path}: {_REMEDIES[errno.EISDIR]}, e.g. {path / 'out'}{path.suffix or '.mp4'}")
    if not path.exists():
        return
    try:
        same = os.path.samefile(path, source_name)
    except (OSError, ValueError):
        same = False  # the source is no file
    if same:
        raise SinkError(f"{path}: this is the input; give the output another name")
    if not os.access(path, os.W_OK):
        raise SinkError(f"{path}: no permission to replace this file; remove it or choose another name")
