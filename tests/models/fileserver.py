"""A loopback web server whose answers are scripted, one a request; the last is repeated."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    Args:
        body: What is sent.
        status: The HTTP status.
        promised: Content-Length if it is not the body's.
        stall: Keep the connection open and silent after the body until the server ends.
        ranged: Give the rest alone (206) where a range is asked for, and 416 where there is none.
        etag: Sent as ETag; a range with another If-Range gets the whole body.
        sent: Break off after so many bytes of what was promised.
        headers: Further headers.
    """

    body: bytes = b""
    status: int = 200
    promised: int | None = None
    stall: bool = False
    ranged: bool = False
    etag: str | None = None
    sent: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class FileServer:
    """Where it listens, what it was asked for and how much it gave, request by request."""

    url: str
    requests: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    if_ranges: list[str | None] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


def _reply(answer: Answer, wanted: str | None, if_range: str | None) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Status, body and headers for a request."""
    headers = [*answer.headers, *([("ETag", answer.etag)] if answer.etag else [])]
    asked = re.fullmatch(r"bytes=(\d+)-", wanted or "")
    if asked is None or not answer.ranged or if_range not in (None, answer.etag):
        return answer.status, answer.body, headers
    start, size = int(asked[1]), len(answer.body)
    if start >= size:
        return 416, b"", [*headers, ("Content-Range", f"bytes */{size}")]
    return 206, answer.body[start:], [*headers, ("Content-Range", f"bytes {start}-{size - 1}/{size}")]


@contextmanager
def serving(answers: Sequence[Answer]) -> Iterator[FileServer]:
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers[min(len(seen.requests), len(answers) - 1)]
            seen.requests.append(self.path)
            wanted, if_range = self.headers["Range"], self.headers["If-Range"]
            seen.ranges.append(wanted)
            seen.if_ranges.append(if_range)
            status, body, headers = _reply(answer, wanted, if_range)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if answer.promised is None else answer.promised))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            seen.sent.append(len(body[: answer.sent]))  # before the client can have all of it
            self.wfile.write(body[: answer.sent])
            if answer.stall:
                self.wfile.flush()
                ended.wait()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen = FileServer(f"http://127.0.0.1:{server.server_address[1]}/model.bin")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
