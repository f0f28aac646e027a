"""A loopback web server whose answers are scripted, one a request; the last is repeated."""

from __future__ import annotations

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
    """

    body: bytes = b""
    status: int = 200
    promised: int | None = None
    stall: bool = False


@dataclass
class FileServer:
    """Where it listens and what it was asked for."""

    url: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def serving(answers: Sequence[Answer]) -> Iterator[FileServer]:
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers[min(len(seen.requests), len(answers) - 1)]
            seen.requests.append(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.promised is None else answer.promised))
            self.end_headers()
            self.wfile.write(answer.body)
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
