"""An HTTP answer of Evolution, taken apart: status, `error` field, shape of the message, its first words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .wire import mapping_of

_MEDIA_ENDPOINTS: Final = frozenset(
    {"sendMedia", "sendPtv", "sendWhatsAppAudio", "sendSticker", "sendStatus"}
)
_MAX_DETAIL: Final = 200
_LONG_NUMBER: Final = re.compile(r"[0-9][0-9 ().-]{5,}[0-9]")
_PATH: Final = re.compile(r"(?:/[\w.@-]+){2,}")
_DATABASE_ERROR: Final = re.compile(r"\s*(?:Prisma\w*|DriverAdapterError|Invalid (?=`))")
INTERNAL_ERROR: Final = "Internal Server Error"


class Shape(StrEnum):
    """The shapes `response.message` was seen in."""

    ABSENT = "absent"
    STRING = "string"
    STRINGS = "list of strings"
    NESTED = "list of lists"
    OBJECTS = "list with objects"


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says. `first` is its first message text without the prefix "Error: "."""

    status: int
    endpoint: str
    to_group: bool
    error: str
    shape: Shape
    first: str
    objects: tuple[Mapping[str, object], ...] = ()

    @property
    def is_media(self) -> bool:
        """Whether the call uploads a file, whose errors are thrown before anything is sent."""
        return self.endpoint in _MEDIA_ENDPOINTS

    @property
    def detail(self) -> str | None:
        """The first words, fit for a passport: short, without phone numbers, server paths or messages.

        Errors of its database quote the row, and with it the customer's words: only their name is kept.
        """
        quotes_rows = _DATABASE_ERROR.match(self.first)
        return short_detail(quotes_rows[0] if quotes_rows else self.first)


def short_detail(text: str) -> str | None:
    """Return an error text fit for storing and logging, None when there is none."""
    plain = _PATH.sub("/…", _LONG_NUMBER.sub("…", " ".join(text[:2000].split())))
    return plain[:_MAX_DETAIL] or None


def read_answer(status: int, body: object, endpoint: str, *, to_group: bool = False) -> Said:
    """Take an error answer apart. `endpoint` is a name ("sendText") or a path that holds it."""
    fields = mapping_of(body)
    wrapper = mapping_of(fields.get("response"))
    message = wrapper.get("message", fields.get("message"))
    error = fields.get("error")
    shape = _shape_of(message)
    return Said(
        status=status,
        endpoint=endpoint_name(endpoint),
        to_group=to_group,
        error=error if isinstance(error, str) else "",
        shape=shape,
        first=_first_text(message).removeprefix("Error: "),
        objects=_objects(message),
    )


def endpoint_name(path: str) -> str:
    """Return `sendText` for `/message/sendText/my-instance` and for itself."""
    parts = [part for part in path.split("/") if part]
    return parts[1] if len(parts) > 1 else "".join(parts)


def _shape_of(message: object) -> Shape:
    if isinstance(message, str):
        return Shape.STRING
    if not isinstance(message, list) or not message:
        return Shape.ABSENT
    if isinstance(message[0], list):
        return Shape.NESTED
    return Shape.OBJECTS if isinstance(message[0], Mapping) else Shape.STRINGS


def _first_text(message: object) -> str:
    for _ in range(2):
        message = message[0] if isinstance(message, list) and message else message
    return message if isinstance(message, str) else ""


def _objects(message: object) -> tuple[Mapping[str, object], ...]:
    if not isinstance(message, list):
        return ()
    return tuple(item for item in message if isinstance(item, Mapping))
