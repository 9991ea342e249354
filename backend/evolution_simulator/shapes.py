"""Small shapes shared by answers and webhooks: ids, times, protobuf encodings, errors."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

_CUID_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_TWO_DAYS = 172_800


def new_key_id() -> str:
    """A WhatsApp message id as a web client makes it. Never seeded: it must be unique across runs."""
    return "3EB0" + os.urandom(9).hex().upper()


def new_phone_key_id() -> str:
    """A message id as an iPhone makes it."""
    return "3A" + os.urandom(9).hex().upper()


def new_uuid() -> str:
    """A lower-case UUID, used for instances and EVOLUTION-channel messages."""
    return str(uuid.uuid4())


def new_cuid() -> str:
    """A database row id in the form Prisma's cuid() gives it (25 characters)."""
    return "cm" + "".join(_CUID_ALPHABET[byte % 36] for byte in os.urandom(23))


def now_seconds() -> int:
    """WhatsApp's clock: whole seconds."""
    return int(time.time())


def iso(moment: float | None = None) -> str:
    """A UTC timestamp with milliseconds, as the database columns show it."""
    value = datetime.fromtimestamp(time.time() if moment is None else moment, tz=UTC)
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_iso() -> str:
    """`date_time` of a webhook: the server's local clock with a false `Z`."""
    return datetime.now().astimezone().replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def long(value: int, *, unsigned: bool = False) -> Json:
    """A 64-bit integer the way protobuf.js serialises it."""
    low, high = value & 0xFFFFFFFF, (value >> 32) & 0xFFFFFFFF
    return {"low": low - 0x100000000 if low > 0x7FFFFFFF else low, "high": high, "unsigned": unsigned}


def byte_map(data: bytes) -> Json:
    """A byte array the way JSON.stringify shows a Uint8Array."""
    return {str(index): value for index, value in enumerate(data)}


def context_info() -> Json:
    """The contextInfo Baileys adds to a message in a one-to-one chat."""
    return {
        "mentionedJid": [],
        "groupMentions": [],
        "ephemeralSettingTimestamp": long(now_seconds() - _TWO_DAYS),
        "disappearingMode": {"initiator": 0},
    }


def error_body(status: int, message: Any) -> Json:
    """Evolution's standard error: `message` is a string or a list, as the caller found it in the wild."""
    return {"status": status, "error": HTTPStatus(status).phrase, "response": {"message": message}}


class ApiError(Exception):
    """An answer that is not a success; `body` overrides the standard shape."""

    def __init__(self, status: int, message: Any = None, *, body: Any = None) -> None:
        super().__init__(f"{status}")
        self.status = status
        self.body = error_body(status, message) if body is None else body


def bad_request(*messages: Any) -> ApiError:
    """400 with a list of messages."""
    return ApiError(400, list(messages))


def server_error(message: str) -> ApiError:
    """500 with a plain string: an exception nobody caught inside Evolution."""
    return ApiError(500, message)


def schema_error(messages: list[str]) -> ApiError:
    """400 with a list inside the list: the body did not fit the route's schema."""
    return ApiError(400, [messages])


def undefined(name: str) -> str:
    """The sentence JavaScript has for reading a property of nothing."""
    return f"Cannot read properties of undefined (reading '{name}')"
