"""Files by content in Django's default storage: `media/<tenant>/<sha256[:2]>/<sha256>`.

What is being written is a private file on this machine's disk until it is whole, checked and named after its content;
only then does the storage get it, in one step: a rename on a file system, one PUT on S3. So a half-written file is
never seen under its name, identical files of a tenant are one, and keeping a file twice changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from apps.chat.media import errors
from apps.chat.media.errors import MediaRefused, StorageAway
from apps.chat.media.sniff import HEAD

PREFIX: Final = "media"
_LEFT_OVER_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in the storage: its content's SHA-256 in hex, its length in bytes, its name there."""

    sha256: str
    size: int
    name: str


class Incoming:
    """A file on its way in: write, look at `head`, `size` and `path`, then `keep`; gone at the end otherwise.

    Blocking; not for two threads at once.
    """

    def __init__(self, tenant_id: UUID, max_bytes: int) -> None:
        self._tenant_id, self._max_bytes = tenant_id, max_bytes
        self._digest = hashlib.sha256()
        self._file = tempfile.NamedTemporaryFile(dir=_partial_directory(), delete=False)  # noqa: SIM115
        self.path = Path(self._file.name)
        self.size = 0
        self.head = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            MediaRefused: there are more than `max_bytes` now.
            StorageAway: the disk did not take them.
        """
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise MediaRefused(errors.TOO_BIG, skipped=True)
        if len(self.head) < HEAD:
            self.head += chunk[: HEAD - len(self.head)]
        self._digest.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise StorageAway(type(error).__name__) from error

    def complete(self) -> Path:
        """All bytes are on the disk under the returned path, for others to look at."""
        try:
            self._file.flush()
        except OSError as error:
            raise StorageAway(type(error).__name__) from error
        return self.path

    def keep(self) -> Kept:
        """Give the file to the storage.

        Raises:
            MediaRefused: it is empty.
            StorageAway: the storage did not take it.
        """
        if not self.size:
            raise MediaRefused(errors.EMPTY)
        sha256 = self._digest.hexdigest()
        name = name_of(self._tenant_id, sha256)
        try:
            self._file.flush()
            if not _is_there(name, self.size):
                self._place(name)
        except Exception as error:  # whatever a storage raises: it is away
            raise StorageAway(type(error).__name__) from error
        return Kept(sha256, self.size, name)

    def _place(self, name: str) -> None:
        target = _local_path(name)
        if target is None:
            self._file.seek(0)
            default_storage.save(name, File(self._file, name=name))
            return
        os.fsync(self._file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o640)
        self.path.replace(target)

    def discard(self) -> None:
        """Forget it; what was kept stays."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def keep(tenant_id: UUID, chunks: Iterable[bytes], max_bytes: int) -> Kept:
    """Write a whole file. Raises MediaRefused (empty, too big) and StorageAway."""
    with Incoming(tenant_id, max_bytes) as file:
        for chunk in chunks:
            file.write(chunk)
        return file.keep()


def open_kept(name: str) -> IO[bytes]:
    """The file for reading, seekable. Raises StorageAway when the storage has or gives none."""
    try:
        found: IO[bytes] = default_storage.open(name, "rb")
    except Exception as error:  # whatever a storage raises: it is away
        raise StorageAway(type(error).__name__) from error
    return found


def size_of(name: str) -> int:
    """How many bytes the file has. Raises StorageAway."""
    try:
        return int(default_storage.size(name))
    except Exception as error:  # whatever a storage raises: it is away
        raise StorageAway(type(error).__name__) from error


def open_range(name: str, first: int, end: int) -> IO[bytes]:
    """The bytes from `first` up to `end`, to be read on; of S3 no more than these are fetched. Raises StorageAway."""
    bucket: Any = getattr(default_storage, "bucket", None)
    if bucket is None:
        file = open_kept(name)
        file.seek(first)
        return file
    try:
        body: IO[bytes] = bucket.Object(name).get(Range=f"bytes={first}-{end - 1}")["Body"]
    except Exception as error:  # whatever a storage raises: it is away
        raise StorageAway(type(error).__name__) from error
    return body


def name_of(tenant_id: UUID, sha256: str) -> str:
    """Where a tenant's content stands in the storage."""
    return f"{PREFIX}/{tenant_id}/{sha256[:2]}/{sha256}"


def remove_left_over(older_than: float = _LEFT_OVER_SECONDS) -> int:
    """Remove half-written files of processes that were killed; how many."""
    oldest, removed = time.time() - older_than, 0
    for path in _partial_directory().iterdir():
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue
    return removed


def _partial_directory() -> Path:
    """On the storage's own disk when it is one, so that placing a file is a rename."""
    root = _local_path(PREFIX)
    path = root / ".partial" if root else Path(settings.CHAT_MEDIA_PARTIAL_DIR)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageAway(type(error).__name__) from error
    return path


def _is_there(name: str, size: int) -> bool:
    return default_storage.exists(name) and default_storage.size(name) == size


def _local_path(name: str) -> Path | None:
    try:
        return Path(default_storage.path(name))
    except NotImplementedError:
        return None
