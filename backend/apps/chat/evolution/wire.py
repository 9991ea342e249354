"""Values as Evolution's JSON carries them: 64-bit integers, byte strings, texts that a database may refuse.

JavaScript's protobuf library writes a long as an integer, a decimal string or `{low, high, unsigned}`, and
bytes as an index map `{"0": 109, "1": …}`; both were seen on a running 2.3.6 server.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Final

_MAX_BYTES: Final = 1 << 20
_LATEST_SECOND: Final = 253_402_300_799  # 9999-12-31, the last a datetime can hold
_FIRST_MILLISECOND: Final = 100_000_000_000  # as seconds the year 5138; as milliseconds 1973


def long_of(value: object) -> int | None:
    """Return a 64-bit integer from any of its JSON shapes, None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return _long_of_text(value)
    if isinstance(value, Mapping):
        return _long_of_halves(value.get("low"), value.get("high"))
    return None


def seconds_of(value: object) -> int | None:
    """Return a Unix time in whole seconds from seconds or milliseconds, None when it is no sane time."""
    number = long_of(value)
    if number is None or number <= 0:
        return None
    seconds = number // 1000 if number >= _FIRST_MILLISECOND else number
    return seconds if seconds <= _LATEST_SECOND else None


def bytes_of(value: object) -> bytes | None:
    """Return a byte string from an index map, a list of integers, a Node buffer or base64; at most 1 MiB."""
    if isinstance(value, str):
        return _bytes_of_base64(value)
    if isinstance(value, Mapping):
        inner = value.get("data")
        value = inner if isinstance(inner, list) else _indexed(value)
    if not isinstance(value, list) or len(value) > _MAX_BYTES:
        return None
    if not all(isinstance(byte, int) and 0 <= byte <= 255 for byte in value):
        return None
    return bytes(value)


def text_of(value: object) -> str | None:
    """Return a text any database can store, None when the value is no text."""
    return storable(value) if isinstance(value, str) else None


def word_of(value: object) -> str | None:
    """Return a text that says something (an id, a JID), None when it is absent or blank."""
    text = text_of(value)
    return text if text and not text.isspace() else None


def storable(text: str) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL refuses in text and JSON, by U+FFFD."""
    if text.isascii():
        return text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text.replace("\x00", "\ufffd")


def mapping_of(value: object) -> Mapping[str, object]:
    """Return the value when it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _long_of_text(text: str) -> int | None:
    digits = text.strip().removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        return None
    return int(text)


def _long_of_halves(low: object, high: object) -> int | None:
    if not _is_half(low) or not _is_half(high):
        return None
    return int(str(high)) * (1 << 32) + (int(str(low)) & 0xFFFFFFFF)


def _is_half(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 32


def _indexed(value: Mapping[str, object]) -> list[object] | None:
    if len(value) > _MAX_BYTES:
        return None
    items = [value.get(str(index)) for index in range(len(value))]
    return None if None in items else items


def _bytes_of_base64(text: str) -> bytes | None:
    if len(text) > _MAX_BYTES * 4 // 3 + 4:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
