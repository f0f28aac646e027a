"""One file over HTTP: the bytes that a part lacks, asked for with Range, checked against what the part began as."""

from __future__ import annotations

import logging
import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from gest_stream.models.part import Origin, Part

if TYPE_CHECKING:
    from requests import Response

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16


class DownloadProgress(Protocol):
    """Told how a download goes, in bytes."""

    total: int
    """Size of the whole file, set before the first call; 0 where the server does not tell."""

    def resume(self, done: int) -> None:
        """The first `done` bytes were here before; called before the first update, and only if there are any."""
        ...

    def update(self, count: int) -> None:
        """`count` more bytes came."""
        ...

    def close(self) -> None:
        """The download ended, well or not."""
        ...


class SilentProgress:
    """What is told where nobody asked."""

    total = 0

    def resume(self, done: int) -> None:
        """Tell nobody."""

    def update(self, count: int) -> None:
        """Tell nobody."""

    def close(self) -> None:
        """Tell nobody."""


class Unreachable(Exception):
    """An address gave no complete file; the message says why. For the store, which turns it into a `WeightsError`."""


class BrokenOff(Unreachable):
    """It began to give the file, then ended the connection or fell silent: worth another try."""


def transfer(url: str, sha256: str, part: Part, progress: DownloadProgress, timeout_s: tuple[float, float]) -> None:
    """Bring what `part` lacks of the file at `url`.

    What comes is appended only where the server says that it is the rest of the same version (RFC 9110, 13.1.5 and
    14.2 to 14.4); a server that has another version by now, or cannot give parts, gives the file from its first byte.
    Whether the whole is right only its SHA-256 tells, which is the caller's to check.

    Args:
        url: The file's address.
        sha256: Of the whole file that is wanted; a part of another one is not continued.
        part: What an earlier try left, or nothing; longer afterwards, also after an error.
        progress: Told how it goes.
        timeout_s: How long to wait for the connection, and for each next byte.

    Raises:
        BrokenOff: The connection ended or fell silent in the middle.
        Unreachable: There was no answer, or an error for one.
        OSError: The part cannot be written.
    """
    with ExitStack() as ended:
        ended.callback(progress.close)
        held = continuable(part, url, sha256)
        if held is not None and held.total == part.size:
            return  # killed between the last byte and the renaming
        response = ended.enter_context(_answer(url, _range_of(part, held), timeout_s))
        if held is not None and not _is_rest(response, part.size, held):
            _log.info("%s: is not continued after %d bytes (%s); starting over", url, part.size, _told(response))
            held = None
            if response.status_code != 200:
                response.close()
                response = ended.enter_context(_answer(url, {}, timeout_s))
        _require_success(response)
        if held is None:
            held = _origin(url, sha256, response)
            part.begin(held if "Content-Encoding" not in response.headers else None)
        progress.total = held.total or 0
        if part.size:
            progress.resume(part.size)
        _append(response, part, progress)
        if held.total is not None and part.size < held.total:
            raise BrokenOff(f"{part.size} of {held.total} bytes came")


def continuable(part: Part, url: str, sha256: str) -> Origin | None:
    """What the part is part of, if its rest may be asked for at `url`."""
    held = part.origin()
    if held is None or (held.url, held.sha256) != (url, sha256) or not part.size:
        return None
    return held if held.total is None or part.size <= held.total else None


def _range_of(part: Part, held: Origin | None) -> dict[str, str]:
    if held is None:
        return {}
    asked = {"Range": f"bytes={part.size}-"}
    return asked if held.validator is None else {**asked, "If-Range": held.validator}


def _answer(url: str, asked: dict[str, str], timeout_s: tuple[float, float]) -> Response:
    import requests

    # A compressed body has other offsets than the file.
    headers = {"Accept-Encoding": "identity", **asked}
    try:
        return requests.get(url, headers=headers, stream=True, timeout=timeout_s)
    except requests.exceptions.RequestException as exc:
        raise Unreachable(_reason(exc)) from exc


def _is_rest(response: Response, offset: int, held: Origin) -> bool:
    """Whether the body is what comes after the first `offset` bytes."""
    if response.status_code != 206:
        # An error that is not about the range says nothing about the part, which is kept.
        _require_success(response, but=416)
        return False
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != offset or "Content-Encoding" in response.headers:
        return False
    return held.total is None or found[2] in ("*", str(held.total))


def _told(response: Response) -> str:
    where = response.headers.get("Content-Range")
    return f"HTTP {response.status_code}" + (f", {where}" if where else "")


def _require_success(response: Response, but: int | None = None) -> None:
    import requests

    if response.status_code == but:
        return
    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as exc:
        raise Unreachable(_reason(exc)) from exc


def _origin(url: str, sha256: str, response: Response) -> Origin:
    headers = response.headers
    tag = headers.get("ETag")
    # If-Range takes no weak tag: it promises the same meaning, not the same bytes.
    validator = tag if tag is not None and not tag.startswith("W/") else headers.get("Last-Modified")
    length = headers.get("Content-Length", "") if "Content-Encoding" not in headers else ""
    return Origin(url, sha256, validator, int(length) if length.isdecimal() else None)


def _append(response: Response, part: Part, progress: DownloadProgress) -> None:
    import requests

    with part.path.open("ab") as file:
        try:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                file.flush()  # into the system's hands: a killed process loses nothing that was told
                progress.update(len(chunk))
        except requests.exceptions.RequestException as exc:
            raise BrokenOff(_reason(exc)) from exc
        os.fsync(file.fileno())  # a renamed file must not turn out empty after a power cut


def _reason(exc: Exception) -> str:
    """The innermost cause of a network error: requests wraps urllib3, which wraps the system's words."""
    inner: BaseException = exc
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    return str(inner) or type(inner).__name__
