"""The send endpoints: each checks its own fields and hands an Outgoing to the pipeline."""

from __future__ import annotations

import time
from typing import Any

from . import content, media
from .calls import NOT_ON_EVOLUTION, Call
from .http import Reply
from .media import File
from .sending import Outgoing, send
from .shapes import ApiError, Json, bad_request, server_error, undefined

_URL_OR_BASE64 = "Owned media must be a url or base64"
_URL_BASE64_OR_FILE = "Owned media must be a url, base64, or valid file with buffer"
_LONGEST_EMOJI = 16


async def send_text(call: Call) -> Reply:
    """POST /message/sendText."""
    text = call.body["text"]
    if call.instance.is_baileys and not text.strip():
        raise bad_request("Text is required")
    message = {"conversation": text}
    out = _outgoing(call, "conversation", text=text)
    out.build = lambda _: message
    out.evolution_message = message
    return await send(call, out)


async def send_media(call: Call) -> Reply:
    """POST /message/sendMedia: JSON with a URL or base64, or multipart with `file`."""
    kind, source = call.body["mediatype"], call.body.get("media")
    if kind == "document" and media.is_base64(source) and not call.body.get("fileName") and not call.upload:
        raise bad_request("For base64 the file name must be informed.")
    media.check_source(call, source, _URL_OR_BASE64)
    out = _outgoing(call, f"{kind}Message", text=call.body.get("caption") or "")
    out.evolution_message = {"mediaUrl": source if media.is_url(source) else None}
    if call.instance.is_baileys:
        _attach(out, kind, await media.load(call, kind, source), caption=call.body.get("caption"))
    return await send(call, out)


async def send_audio(call: Call) -> Reply:
    """POST /message/sendWhatsAppAudio: a voice message."""
    source = call.body.get("audio")
    media.check_source(call, source, _URL_BASE64_OR_FILE)
    out = _outgoing(call, "audioMessage")
    if call.instance.is_baileys:
        file = await media.load(call, "audio", source)
        voice = File(file.data, "audio/ogg; codecs=opus", None)
        _attach(out, "audio", voice, voice=True)
        out.prepares_media = False
    elif call.upload is None:
        raise server_error("File or buffer is undefined.")
    out.evolution_message = {"mediaUrl": None}
    return await send(call, out)


async def send_sticker(call: Call) -> Reply:
    """POST /message/sendSticker."""
    call.require_baileys()
    source = call.body.get("sticker")
    media.check_source(call, source, _URL_OR_BASE64)
    out = _outgoing(call, "stickerMessage")
    file = await media.load(call, "sticker", source)
    _attach(out, "sticker", File(file.data, "image/webp", None))
    out.prepares_media = False
    return await send(call, out)


async def send_location(call: Call) -> Reply:
    """POST /message/sendLocation."""
    out = _outgoing(call, "locationMessage", text=call.body["name"])
    out.build = lambda info: content.location(call.body, info)
    return await _baileys_only(call, out)


async def send_contact(call: Call) -> Reply:
    """POST /message/sendContact; ignores `delay`, as the real one does."""
    people = call.body["contact"]
    kind = "contactMessage" if len(people) == 1 else "contactsArrayMessage"
    out = _outgoing(call, kind, text=people[0]["fullName"])
    out.build = lambda info: content.contacts(people, info)
    out.delay_ms = 0
    return await _baileys_only(call, out)


async def send_reaction(call: Call) -> Reply:
    """POST /message/sendReaction: the chat is the reacted key's; ignores `delay`."""
    emoji, key = call.body["reaction"], call.body["key"]
    if not _is_reaction(emoji):
        raise bad_request("Reaction must be a single emoji or empty string")
    out = Outgoing(key["remoteJid"], "reactionMessage", lambda _: {}, text=emoji, has_context=False)
    out.build = lambda _: content.reaction(key, emoji, time.time_ns() // 1_000_000)
    return await _baileys_only(call, out)


async def send_poll(call: Call) -> Reply:
    """POST /message/sendPoll."""
    out = _outgoing(call, "pollCreationMessageV3", text=call.body["name"])
    out.build = lambda info: content.poll(call.body, info)
    out.has_context = False
    return await _baileys_only(call, out)


async def send_list(call: Call) -> Reply:
    """POST /message/sendList."""
    out = _outgoing(call, "listMessage", text=call.body["title"])
    out.build = lambda info: content.list_message(call.body, info)
    return await _baileys_only(call, out)


async def send_buttons(call: Call) -> Reply:
    """POST /message/sendButtons: reply buttons only."""
    buttons = call.body.get("buttons")
    if buttons is None:
        raise server_error(undefined("length"))
    if not buttons:
        raise bad_request("At least one button is required")
    kinds = {button.get("type") for button in buttons}
    if "reply" in kinds and len(kinds) > 1:
        raise bad_request("Reply buttons cannot be mixed with other button types")
    out = _outgoing(call, "viewOnceMessage", text=call.body.get("title") or "")
    out.build = lambda _: content.buttons(call.body)
    out.has_context = False
    out.participant_in_key = True
    out.evolution_kind = "buttonMessage"
    shown = ("title", "description", "footer", "buttons")
    out.evolution_message = {name: call.body[name] for name in shown if name in call.body}
    return await send(call, out)


async def send_status(call: Call) -> Reply:
    """POST /message/sendStatus: text only."""
    call.require_baileys()
    if not call.body.get("allContacts") and not call.body.get("statusJidList"):
        raise bad_request("StatusJidList is required")
    if call.body["type"] == "text":
        if not call.body.get("backgroundColor"):
            raise bad_request("Background color is required")
        if not call.body.get("font"):
            raise bad_request("Font is required")
    message = {"conversation": call.body["content"]}
    out = Outgoing("status@broadcast", "conversation", lambda _: message, text=call.body["content"])
    out.has_context = False
    return await send(call, out)


def _outgoing(call: Call, kind: str, text: str = "") -> Outgoing:
    body = call.body
    out = Outgoing(body["number"], kind, lambda _: {}, text=text, delay_ms=int(body.get("delay") or 0))
    out.quoted = _quoted(call, body.get("quoted"))
    return out


def _quoted(call: Call, quoted: Any) -> Json | None:
    if quoted is None or call.instance.is_baileys:
        return quoted if isinstance(quoted, dict) else None
    if not quoted.get("key"):
        raise bad_request("Message not found")
    return dict(quoted)


def _attach(out: Outgoing, kind: str, file: File, *, caption: str | None = None, voice: bool = False) -> None:
    out.media = file.data
    out.prepares_media = True
    out.build = lambda info: content.media(
        kind, file.data, file.mimetype, caption=caption, file_name=file.name, voice=voice, info=info
    )


async def _baileys_only(call: Call, out: Outgoing) -> Reply:
    if not call.instance.is_baileys:
        raise ApiError(400, [NOT_ON_EVOLUTION])
    return await send(call, out)


def _is_reaction(emoji: str) -> bool:
    """Near enough to Evolution's pattern: short, and nothing in it one could read."""
    return len(emoji) <= _LONGEST_EMOJI and not any(
        c.isalnum() or c.isspace() or c in "-_.,!?" for c in emoji
    )
