"""Says what is wrong with a file that is not a video, from its first bytes and its name."""

from __future__ import annotations

import difflib
from pathlib import Path

from gest_stream.errors import SourceOpenError

_HEAD_BYTES = 4096


def check_file(path: Path) -> None:
    """Raise for what can be told without a demuxer.

    Raises:
        SourceOpenError: The file is absent (near names in its folder are suggested), a folder, empty or unreadable.
    """
    if not path.exists():
        raise SourceOpenError(f"{path}: no such file{_near_names(path)}")
    if path.is_dir():
        raise SourceOpenError(f"{path}: is a folder; pass the video file, or a folder that holds images")
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise SourceOpenError(f"{path}: is empty (0 bytes); record or copy it again")
        if path.is_file():
            path.open("rb").close()
    except OSError as exc:
        raise SourceOpenError(f"{path}: cannot be read ({exc.strerror}); check its permissions") from exc


def why_not_video(path: Path) -> str:
    """What to tell a user whose file FFmpeg does not recognise, with the remedy."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as exc:
        return f"cannot be read ({exc.strerror}); check its permissions"
    if head[4:8] == b"ftyp" and not _has_whole_moov(path):
        return (
            "the MP4 has no complete index (moov atom), so its recording or copy was cut off; "
            "copy it again, or rebuild the index with a repair tool such as untrunc"
        )
    if _is_text(head):
        return "is a text file, not a video; pass a video file such as an .mp4, .mkv or .webm"
    return "is not a video that FFmpeg can read; if it plays elsewhere, convert it with 'ffmpeg -i FILE out.mp4'"


def _near_names(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"; the folder {folder} does not exist either"
    near = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=3)
    return f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else "; check the path"


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        # A multi-byte character may be cut at the end of the head.
        head[: -3 if len(head) == _HEAD_BYTES else None].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_whole_moov(path: Path) -> bool:
    """Walk the top-level atoms (ISO 14496-12, 4.2: 32-bit size, type, 64-bit size where the first is 1)."""
    length = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at + 8 <= length:
            file.seek(at)
            header = file.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            if kind == b"moov":
                return at + size <= length
            if size < 8:
                return False
            at += size
    return False
