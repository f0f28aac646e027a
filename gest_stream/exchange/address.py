"""Where a worker listens: the default address, and a socket there that no other worker and no other user can use."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gest_stream.errors import ConfigError, MissingDependencyError

_MAX_PATH_BYTES: Final = 107
_BACKLOG: Final = 16


def default_socket_path(environment: Mapping[str, str], uid: int) -> Path:
    """The address that plugins look for.

    Args:
        environment: `os.environ`.
        uid: The user's.
    """
    runtime = environment.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "gest_stream" if runtime else Path(f"/tmp/gest_stream-{uid}")
    return folder / "worker.sock"


class ListeningSocket:
    """A SOCK_SEQPACKET socket of mode 0600 at a path; a stale one is replaced, one that is in use is not.

    Args:
        path: Where; a missing folder is made with mode 0700.

    Raises:
        ConfigError: Another worker listens there, something else lies there, or it cannot be made.
        MissingDependencyError: This system has no such sockets.
    """

    def __init__(self, path: Path) -> None:
        if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "SO_PEERCRED") or not hasattr(os, "memfd_create"):
            raise MissingDependencyError("gest-stream worker needs Linux: plugins reach it by a Unix socket and memfds")
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise ConfigError(f"socket {path}: expected at most {_MAX_PATH_BYTES} bytes; choose a shorter path")
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._bind()
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def _bind(self) -> None:
        with _mapped(self.path):
            _make_folder(self.path.parent)
            with _locked(self.path.parent):
                _remove_stale(self.path)
                os.fchmod(self.socket.fileno(), 0o600)  # before it has a name: nobody else can come in between
                self.socket.bind(os.fspath(self.path))
                self.socket.listen(_BACKLOG)
                self._identity = _identity(self.path)

    def close(self) -> None:
        """Stop listening and remove the socket, unless another has taken its place."""
        with contextlib.suppress(OSError), _locked(self.path.parent):
            if _identity(self.path) == self._identity:
                self.path.unlink()
        self.socket.close()


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError(
            f"socket {path}: cannot listen there: {exc.strerror}; choose another place with --socket"
        ) from exc


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder, so that of two workers that start at once one finds the other's socket."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    named, about = folder.lstat(), folder.stat()  # of a link that somebody laid in /tmp the first tells
    trusted = {named.st_uid, about.st_uid} <= {0, os.geteuid()}
    if not trusted or (about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX):
        raise ConfigError(
            f"socket folder {folder}: other users could replace the socket (mode {stat.S_IMODE(about.st_mode):04o}, "
            f"user {named.st_uid}); remove it or choose another place with --socket"
        )


def _remove_stale(path: Path) -> None:
    try:
        about = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode):
        raise ConfigError(f"socket {path}: something else lies there; remove it or choose another place with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)  # a full backlog is an answer too
        failure = probe.connect_ex(os.fspath(path))
    if failure not in (errno.ECONNREFUSED, errno.ENOENT):
        raise ConfigError(
            f"socket {path}: another worker listens there; stop it first or choose another place with --socket"
        )
    path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int]:
    about = path.lstat()
    return about.st_dev, about.st_ino
