"""A multipart form that is streamed: some fields and one file, of a length that is known before."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

CHUNK: Final = 256 * 1024


class SourceError(Exception):
    """The file could not be read, or is shorter or longer than it was said to be."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file to be sent, as image, video, audio, voice or document. `open` gives its bytes for reading (blocking)."""

    kind: str
    mime_type: str
    name: str
    size: int
    open: Callable[[], IO[bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """What goes into one request. The last part is the form's end, without which no server has a request."""

    fields: Mapping[str, str]
    file: SentFile
    file_name: str
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        """The header of that name."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self._head()) + self.file.size + len(self._end())

    async def parts(self, before_end: Callable[[], None]) -> AsyncIterator[bytes]:
        """The body, a chunk at a time; `before_end` is asked right before its end is handed out, and may raise.

        Raises:
            SourceError: the file is not there as it should be; the form has not ended then.
        """
        source = await asyncio.to_thread(_opened, self.file)
        try:
            yield self._head()
            left = self.file.size
            while chunk := await asyncio.to_thread(_read, source):
                left -= len(chunk)
                if left < 0:
                    raise SourceError("longer than it was")
                yield chunk
            if left:
                raise SourceError("shorter than it was")
        finally:
            await asyncio.to_thread(source.close)
        before_end()
        yield self._end()

    def _head(self) -> bytes:
        fields = "".join(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields.items()
        )
        disposition = f'form-data; name="file"; filename="{self.file_name}"'
        return (
            f"{fields}--{self.boundary}\r\nContent-Disposition: {disposition}\r\n"
            f"Content-Type: {self.file.mime_type}\r\n\r\n"
        ).encode()

    def _end(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


def _opened(file: SentFile) -> IO[bytes]:
    try:
        return file.open()
    except Exception as error:
        raise SourceError(type(error).__name__) from error


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(CHUNK)
    except Exception as error:
        raise SourceError(type(error).__name__) from error


def read_whole(file: SentFile) -> bytes:
    """All of a small file (blocking). Raises SourceError."""
    with _opened(file) as source:
        try:
            data = source.read(file.size + 1)
        except Exception as error:
            raise SourceError(type(error).__name__) from error
    if len(data) != file.size:
        raise SourceError("not as long as it was")
    return data
