"""Reading a JSON answer that carries a file as base64, in pieces: the file never stands in memory as a whole.

`getBase64FromMediaMessage` answers `{…, "base64": "…80 MB…", "buffer": null}`. `Base64Answer` decodes the text behind
the outermost key "base64" as it comes and keeps the rest of the object, which is small, for the end.
"""

import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Final

from .wire import mapping_of

_KEY: Final = b"base64"
_REST_CAP: Final = 1 << 20
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_OPENING, _CLOSING = frozenset(b"{["), frozenset(b"}]")


class AnswerUnreadable(Exception):
    """The answer is no such object, or what it carries is no base64."""


class Base64Answer:
    """Feed it the answer's bytes in order; it gives the file's bytes."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._depth = 0
        self._in_text = self._escaped = self._behind_colon = False
        self._text_from = 0
        self._last_text = b""
        self._in_file = self.found = False
        self._file = _Decoder()

    def feed(self, chunk: bytes) -> bytes:
        """What these bytes hold of the file. Raises AnswerUnreadable."""
        position, found = 0, b""
        while position < len(chunk):
            if self._in_file:
                end = chunk.find(b'"', position)
                found += self._file.feed(chunk[position:] if end < 0 else chunk[position:end])
                position = len(chunk) if end < 0 else end
                self._in_file = end < 0
                if not self._in_file:
                    self._file.finish()
            else:
                position = self._outside(chunk, position)
        return found

    def finish(self) -> Mapping[str, object]:
        """The rest of the object, its "base64" empty. Raises AnswerUnreadable when it is not whole or has no file."""
        if not self.found or self._in_file:
            raise AnswerUnreadable("no base64" if not self.found else "cut off")
        try:
            return mapping_of(json.loads(self._rest))
        except (ValueError, RecursionError) as error:
            raise AnswerUnreadable("no JSON") from error

    def _outside(self, chunk: bytes, position: int) -> int:
        """Read on until the file begins; where."""
        for place in range(position, len(chunk)):
            if self._one(chunk[place]):
                self._in_file = self.found = True
                return place + 1
        if len(self._rest) > _REST_CAP:
            raise AnswerUnreadable("too long")
        return len(chunk)

    def _one(self, byte: int) -> bool:
        """Take one byte outside the file; true for the quote behind which the file begins."""
        self._rest.append(byte)
        if self._in_text:
            self._one_of_text(byte)
            return False
        if byte == _QUOTE:
            self._in_text, self._text_from = True, len(self._rest)
            # The closing quote of the file, which `feed` leaves to us, ends this text.
            return self._behind_colon and self._depth == 1 and self._last_text == _KEY and not self.found
        if byte == ord(":"):
            self._behind_colon = True
        elif byte == ord(","):
            self._behind_colon = False
        elif byte in _OPENING:
            self._depth, self._behind_colon = self._depth + 1, False
        elif byte in _CLOSING:
            self._depth -= 1
        return False

    def _one_of_text(self, byte: int) -> None:
        if self._escaped:
            self._escaped = False
        elif byte == _BACKSLASH:
            self._escaped = True
        elif byte == _QUOTE:
            self._in_text = False
            if not self._behind_colon:
                self._last_text = bytes(self._rest[self._text_from : -1])


class _Decoder:
    """base64 in pieces: strict, padded only at the end. JSON may write its slashes as backslash-slash."""

    def __init__(self) -> None:
        self._left = b""
        self._ended = False

    def feed(self, text: bytes) -> bytes:
        text = self._left + text
        half = b"\\" if text.endswith(b"\\") else b""  # of a backslash-slash whose other half comes next
        text = text.removesuffix(half).replace(b"\\/", b"/")
        whole = len(text) // 4 * 4
        text, self._left = text[:whole], text[whole:] + half
        if not text:
            return b""
        if self._ended:
            raise AnswerUnreadable("bytes behind the padding")
        self._ended = text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise AnswerUnreadable("no base64") from error

    def finish(self) -> None:
        if self._left:
            raise AnswerUnreadable("cut off")


def decode_text(text: str, step: int = 1 << 18) -> Iterator[bytes]:
    """A base64 text that is at hand, in pieces. Raises AnswerUnreadable."""
    decoder = _Decoder()
    for at in range(0, len(text), step):
        yield decoder.feed(text[at : at + step].encode("ascii", "replace"))
    decoder.finish()
