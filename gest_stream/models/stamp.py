"""A note beside a weight file that it was found right, so that a large file is not read whole at every start."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)


def stamp_path(path: Path) -> Path:
    """Where the note on `path` lies."""
    return path.with_name(f".{path.name}.verified.json")


def stamped_sha256(path: Path) -> str | None:
    """The SHA-256 that a file had when it was last read whole; None where it has to be read again.

    The note counts only while size and modification time are what they were then, so a file that was written to,
    replaced or put there by hand is read again. A change that leaves both as they were (a fault of the disk, a tool
    that sets the time back) is not seen here; `ModelStore.verify` always reads the file.

    Raises:
        OSError: `path` cannot be looked at.
    """
    now = path.stat()
    try:
        noted = json.loads(stamp_path(path).read_text())
        if (noted["size"], noted["mtime_ns"]) != (now.st_size, now.st_mtime_ns):
            return None
        return str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stamp(path: Path, sha256: str, seen: os.stat_result) -> None:
    """Note that `path` has that SHA-256; where the folder cannot be written to, nothing is noted.

    Args:
        path: The file.
        sha256: Lower-case hex.
        seen: What the file was before it was read: what is written to it meanwhile voids the note.
    """
    noted = {"size": seen.st_size, "mtime_ns": seen.st_mtime_ns, "sha256": sha256}
    try:
        stamp_path(path).write_text(json.dumps(noted))
    except OSError as exc:
        _log.debug("%s: no note can be kept beside it (%s); it is read whole at every start", path, exc)
