"""The `message` objects of sends and inbound messages, as Baileys shapes them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from typing import Any

from .shapes import Json, byte_map, long, new_uuid, now_seconds

THUMBNAIL = base64.b64decode(
    "/9j/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeF"
    "xlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj"
    "Y2NjY2P/wAARCAAgACADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAX/xAAUEAEAAAAAAAAAAAAAAAAAAA"
    "AA/8QAFQEBAQAAAAAAAAAAAAAAAAAAAAX/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCIAlowAAAA"
    "AD//2Q=="
)
"""A one-pixel JPEG."""

TINY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_IMAGE_MAGIC = (_PNG_MAGIC, b"\xff\xd8\xff", b"GIF8", b"RIFF")
_AUDIO_MAGIC = (b"OggS", b"ID3", b"\xff\xfb", b"RIFF")
"""What can be decoded far enough to know its length; the rest is sent all the same."""
_OUTBOUND_URL = "https://mmg.example.com/v/t62/synthetic.enc"
_EMPTY_LISTS = {
    "image": ("interactiveAnnotations", "scanLengths", "annotations"),
    "video": ("interactiveAnnotations", "annotations", "processedVideos"),
}
MIMETYPES = {
    "image": "image/jpeg",
    "video": "video/mp4",
    "audio": "audio/mpeg",
    "document": "application/octet-stream",
    "sticker": "image/webp",
}


def is_image(data: bytes) -> bool:
    """Whether the image library Evolution uses would recognise these bytes."""
    return data.startswith(_IMAGE_MAGIC)


def media(
    kind: str,
    data: bytes,
    mimetype: str,
    *,
    caption: str | None = None,
    file_name: str | None = None,
    voice: bool = False,
    info: Json | None = None,
) -> Json:
    """`<kind>Message` for a file; its URL leads nowhere, as a real one leads to ciphertext."""
    content: Json = {name: [] for name in _EMPTY_LISTS.get(kind, ())}
    content |= {
        "url": _OUTBOUND_URL,
        "mimetype": mimetype,
        "fileSha256": byte_map(hashlib.sha256(data).digest()),
        "fileLength": long(len(data), unsigned=True),
        "mediaKey": byte_map(os.urandom(32)),
        "fileEncSha256": byte_map(os.urandom(32)),
        "directPath": "/v/t62/synthetic.enc",
        "mediaKeyTimestamp": long(now_seconds()),
    }
    content |= _extras(kind, data, caption, file_name, voice)
    if info is not None:
        content["contextInfo"] = info
    return {f"{kind}Message": content}


def _extras(kind: str, data: bytes, caption: str | None, file_name: str | None, voice: bool) -> Json:
    extras: Json = {}
    if kind == "image":
        height, width = _dimensions(data)
        extras = {"height": height, "width": width, "jpegThumbnail": byte_map(THUMBNAIL)}
    elif kind == "video":
        extras = {"gifPlayback": False}
    elif kind == "document":
        extras = {"fileName": file_name} if file_name else {}
    elif voice:
        extras = {"ptt": True}
        if data.startswith(_AUDIO_MAGIC):
            extras |= {"seconds": 1, "waveform": byte_map(bytes(64))}
    if caption:
        extras["caption"] = caption
    return extras


def _dimensions(data: bytes) -> tuple[int, int]:
    """(height, width): read from a PNG, invented otherwise."""
    if data.startswith(_PNG_MAGIC) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    return 100, 80


def location(body: Json, info: Json | None) -> Json:
    """`locationMessage` from a sendLocation body."""
    content = {
        "degreesLatitude": body["latitude"],
        "degreesLongitude": body["longitude"],
        "name": body["name"],
        "address": body["address"],
    }
    return {"locationMessage": _with(content, info)}


def contacts(people: list[Json], info: Json | None) -> Json:
    """`contactMessage` for one person, `contactsArrayMessage` for several."""
    cards = [{"displayName": person["fullName"], "vcard": _vcard(person)} for person in people]
    if len(cards) == 1:
        return {"contactMessage": _with(dict(cards[0]), info)}
    content: Json = {"contacts": cards, "displayName": f"{len(cards)} contacts"}
    return {"contactsArrayMessage": _with(content, info)}


def _vcard(person: Json) -> str:
    phone = person["phoneNumber"]
    wuid = person.get("wuid") or "".join(filter(str.isdigit, phone)) + "@s.whatsapp.net"
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:{person['fullName']}", f"FN:{person['fullName']}"]
    if person.get("organization"):
        lines.append(f"ORG:{person['organization']};")
    if person.get("email"):
        lines.append(f"EMAIL:{person['email']}")
    if person.get("url"):
        lines.append(f"URL:{person['url']}")
    return "\n".join([*lines, f"item1.TEL;waid={wuid}:{phone}", "item1.X-ABLabel:Celular", "END:VCARD"])


def reaction(key: Json, emoji: str, moment_ms: Any) -> Json:
    """`reactionMessage`; an empty emoji takes the reaction back."""
    return {"reactionMessage": {"text": emoji, "key": key, "senderTimestampMs": moment_ms}}


def poll(body: Json, info: Json | None) -> Json:
    """`pollCreationMessageV3` with its secret."""
    secret = _with({"messageSecret": byte_map(os.urandom(32))}, info)
    options = [{"optionName": value} for value in body["values"]]
    creation = {"name": body["name"], "selectableOptionsCount": body["selectableCount"], "options": options}
    return {"messageContextInfo": secret, "pollCreationMessageV3": creation}


def list_message(body: Json, info: Json | None) -> Json:
    """`listMessage` from a sendList body."""
    content: Json = {
        name: body[name]
        for name in ("sections", "title", "description", "buttonText", "footerText")
        if name in body
    }
    return {"listMessage": _with({**content, "listType": 2}, info)}


def buttons(body: Json) -> Json:
    """Reply buttons as the native flow Evolution builds."""
    text = f"*{body.get('title', '')}*"
    if body.get("description"):
        text += f"\n\n{body['description']}\n"
    flow = {
        "buttons": [_reply_button(button) for button in body["buttons"]],
        "messageParamsJson": _compact({"from": "api", "templateId": new_uuid()}),
    }
    shown = {"body": {"text": text}, "footer": {"text": body.get("footer")}, "nativeFlowMessage": flow}
    return {"viewOnceMessage": {"message": {"interactiveMessage": shown}}}


def _reply_button(button: Json) -> Json:
    params = {"display_text": button.get("displayText"), "id": button.get("id")}
    return {"name": "quick_reply", "buttonParamsJson": _compact(params)}


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _with(content: Json, info: Json | None) -> Json:
    return content if info is None else {**content, "contextInfo": info}
