"""The browser page: a handful of files that are held in memory, so that no path can lead out of their folder."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from gest_stream.server.problems import RefusedError

PAGE_FOLDER: Final = Path(__file__).parent / "page"
_INDEX: Final = "index.html"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}

_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    hdrs.CACHE_CONTROL: "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    headers: dict[str, str]


class PageFiles:
    """Serves the files of one folder, as they were when it was made.

    Args:
        folder: Holds index.html and what it loads; folders in it and files of other types are left out.
    """

    def __init__(self, folder: Path = PAGE_FOLDER) -> None:
        self._files = {path.name: _load(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}

    async def index(self, request: web.Request) -> web.Response:
        """GET /: the page."""
        return self._answer(request, _INDEX)

    async def file(self, request: web.Request) -> web.Response:
        """GET /page/{file}: what the page loads."""
        return self._answer(request, request.match_info["file"])

    def _answer(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise RefusedError("the page has no such file", HTTPStatus.NOT_FOUND)
        known = request.if_none_match or ()
        if any(tag.value == "*" or f'"{tag.value}"' == file.headers[hdrs.ETAG] for tag in known):
            kept = {name: value for name, value in file.headers.items() if name != hdrs.CONTENT_TYPE}
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=kept)
        return web.Response(body=file.body, headers=file.headers)


def _load(path: Path) -> _File:
    body = path.read_bytes()
    etag = f'"{sha256(body).hexdigest()[:16]}"'
    return _File(body, {hdrs.CONTENT_TYPE: _TYPES[path.suffix], hdrs.ETAG: etag, **_POLICY})
