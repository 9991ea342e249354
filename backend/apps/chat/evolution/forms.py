"""Bodies with a file in them, streamed a chunk at a time and of a length that is known before: a form, or JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

# A multiple of three: then base64 of the chunks, joined, is base64 of the whole.
CHUNK: Final = 3 * 64 * 1024


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


class Form(ABC):
    """A body in three parts: what comes before the file, the file, and an end without which nobody has a request."""

    file: SentFile

    @property
    @abstractmethod
    def content_type(self) -> str:
        """The header of that name."""

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self.head()) + self.sent_size() + len(self.end())

    async def parts(self, before_end: Callable[[], None]) -> AsyncIterator[bytes]:
        """The body, a chunk at a time; `before_end` is asked right before its end is handed out, and may raise.

        Raises:
            SourceError: the file is not there as it should be; the body has not ended then.
        """
        source = await asyncio.to_thread(_opened, self.file)
        try:
            yield self.head()
            left = self.file.size
            while chunk := await asyncio.to_thread(_read, source):
                left -= len(chunk)
                if left < 0:
                    raise SourceError("longer than it was")
                yield self.coded(chunk)
            if left:
                raise SourceError("shorter than it was")
        finally:
            await asyncio.to_thread(source.close)
        before_end()
        yield self.end()

    @abstractmethod
    def head(self) -> bytes:
        """What comes before the file."""

    @abstractmethod
    def end(self) -> bytes:
        """What completes the body."""

    def coded(self, chunk: bytes) -> bytes:
        """A chunk of the file as it is written; all but the last are CHUNK bytes."""
        return chunk

    def sent_size(self) -> int:
        """How many bytes the file takes."""
        return self.file.size


@dataclass(frozen=True, slots=True)
class FileForm(Form):
    """multipart/form-data: some fields, and the file under the name `file`."""

    fields: Mapping[str, str]
    file: SentFile
    file_name: str
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def head(self) -> bytes:
        fields = "".join(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields.items()
        )
        disposition = f'form-data; name="file"; filename="{self.file_name}"'
        return (
            f"{fields}--{self.boundary}\r\nContent-Disposition: {disposition}\r\n"
            f"Content-Type: {self.file.mime_type}\r\n\r\n"
        ).encode()

    def end(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class InlineFile(Form):
    """A JSON object whose last field, `key`, is the file in base64."""

    fields: Mapping[str, object]
    file: SentFile
    key: str

    @property
    def content_type(self) -> str:
        return "application/json"

    def head(self) -> bytes:
        said = json.dumps(self.fields, ensure_ascii=False, separators=(",", ":"))
        return f'{said[:-1]},"{self.key}":"'.encode()

    def end(self) -> bytes:
        return b'"}'

    def coded(self, chunk: bytes) -> bytes:
        return base64.b64encode(chunk)

    def sent_size(self) -> int:
        return (self.file.size + 2) // 3 * 4


def _opened(file: SentFile) -> IO[bytes]:
    try:
        return file.open()
    except Exception as error:
        raise SourceError(type(error).__name__) from error


def _read(source: IO[bytes]) -> bytes:
    """CHUNK bytes, fewer only at the file's end, whatever the source gives at once."""
    found = bytearray()
    try:
        while len(found) < CHUNK and (more := source.read(CHUNK - len(found))):
            found += more
    except Exception as error:
        raise SourceError(type(error).__name__) from error
    return bytes(found)
