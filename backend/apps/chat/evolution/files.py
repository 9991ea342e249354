"""What a webhook claims about the file of a message: everything here is the sender's word."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .wire import bytes_of, long_of, mapping_of, word_of

_PARTS: Final = (
    "imageMessage",
    "videoMessage",
    "ptvMessage",
    "audioMessage",
    "documentMessage",
    "stickerMessage",
)
_MOST_WRAPPERS: Final = 6
_MOST_PREVIEW: Final = 32_768
_MOST_SECONDS: Final = 86_400
_MOST_PIXELS: Final = 1_000_000
_MOST_SIZE: Final = 1 << 50
_LEVELS: Final = 64


@dataclass(frozen=True, slots=True)
class FileClaim:
    """A message's file as claimed; None and empty for what is not told.

    `preview` is a tiny JPEG; `waveform` up to 64 levels from 0 to 100. `url` is where a channel without WhatsApp's
    encryption says the file is: never to be called without the checks for addresses that strangers choose.
    `can_download` tells whether Evolution has what it needs to fetch and decrypt it; `inline` that the webhook
    carries the file itself as base64.
    """

    mime_type: str = ""
    file_name: str = ""
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    preview: bytes | None = None
    waveform: tuple[int, ...] | None = None
    url: str | None = None
    can_download: bool = False
    inline: bool = False


def file_claim(data: object) -> FileClaim:
    """Read the `data` of a messages.upsert."""
    message = mapping_of(mapping_of(data).get("message"))
    fields = _part_of(message)
    seconds = long_of(fields.get("seconds"))
    inline = message.get("base64")
    return FileClaim(
        mime_type=(word_of(fields.get("mimetype")) or word_of(fields.get("mime_type")) or "")[:120],
        file_name=word_of(fields.get("fileName")) or word_of(fields.get("filename")) or "",
        size=_within(long_of(fields.get("fileLength")), _MOST_SIZE),
        width=_within(long_of(fields.get("width")), _MOST_PIXELS),
        height=_within(long_of(fields.get("height")), _MOST_PIXELS),
        duration_ms=seconds * 1000 if seconds and 0 < seconds <= _MOST_SECONDS else None,
        preview=_preview(fields.get("jpegThumbnail")),
        waveform=_waveform(fields.get("waveform")),
        url=word_of(message.get("mediaUrl")),
        can_download=bool(fields.get("mediaKey")),
        inline=isinstance(inline, str) and bool(inline),
    )


def item_of(body: Mapping[str, object], key_id: str) -> Mapping[str, object]:
    """The part of a webhook's `data` that speaks of this message; it may be a list."""
    data = body.get("data")
    items = [mapping_of(item) for item in data] if isinstance(data, list) else [mapping_of(data)]
    return next((item for item in items if mapping_of(item.get("key")).get("id") == key_id), {})


def _part_of(message: Mapping[str, object]) -> Mapping[str, object]:
    for _ in range(_MOST_WRAPPERS):
        part = next((mapping_of(message[name]) for name in _PARTS if name in message), None)
        if part is not None:
            return part
        wrappers = (mapping_of(mapping_of(value).get("message")) for value in message.values())
        message = next(filter(None, wrappers), {})
    return {}


def _within(value: int | None, most: int) -> int | None:
    return value if value is not None and 0 < value <= most else None


def _preview(value: object) -> bytes | None:
    data = bytes_of(value)
    return data if data and data.startswith(b"\xff\xd8") and len(data) <= _MOST_PREVIEW else None


def _waveform(value: object) -> tuple[int, ...] | None:
    levels = bytes_of(value)
    if not levels or len(levels) > _LEVELS:
        return None
    return tuple(min(level, 100) for level in levels)


def preview_text(preview: bytes | None) -> str:
    """A preview as base64, empty without one."""
    return base64.b64encode(preview).decode() if preview else ""
