"""What a WhatsApp message says: the protobuf `message` object, reduced to a kind and its words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .details import details_of, names_in
from .wire import long_of, mapping_of, text_of, word_of

_KINDS: Final = {
    "conversation": "text",
    "extendedTextMessage": "text",
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
    "contactMessage": "contact",
    "contactsArrayMessage": "contact",
    "locationMessage": "location",
    "liveLocationMessage": "location",
    "reactionMessage": "reaction",
    "pollCreationMessage": "poll",
    "pollCreationMessageV2": "poll",
    "pollCreationMessageV3": "poll",
    "pollUpdateMessage": "poll_vote",
    "listResponseMessage": "choice",
    "buttonsResponseMessage": "choice",
    "templateButtonReplyMessage": "choice",
    "interactiveResponseMessage": "choice",
    "interactiveMessage": "interactive",
    "listMessage": "interactive",
    "buttonsMessage": "interactive",
    "templateMessage": "interactive",
}
_VIEW_ONCE: Final = frozenset({"viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"})
_WRAPPERS: Final = _VIEW_ONCE | {"ephemeralMessage", "documentWithCaptionMessage", "editedMessage"}
_SECRET_KINDS: Final = frozenset({"image", "video", "audio"})
# Where the words of each kind stand, tried in order; a dotted path descends.
_WORDS: Final = ("caption", "selectedDisplayText", "title", "name", "displayName", "body.text", "description")
_MAX_WRAPPERS: Final = 6


@dataclass(frozen=True, slots=True)
class Content:
    """A message's content. `text` is set for texts only, `caption` holds the words of every other kind."""

    kind: str
    raw_type: str
    text: str | None = None
    caption: str | None = None
    quoted_id: str | None = None
    file_name: str | None = None
    emoji: str | None = None
    target_id: str | None = None
    timestamp_ms: int | None = None
    details: dict[str, object] | None = None


def read_content(message: object, declared_type: str, context: object) -> Content:
    """Reduce `message` (the protobuf object), `messageType` and the outer `contextInfo` of a webhook or row.

    Kinds: text, image, video, audio, voice (push-to-talk), document, sticker, contact, location, reaction, poll,
    poll_vote, choice (an answer to buttons or a list), interactive, view_once (content stays on the phone) and
    unknown. What each says beside its words is in `details` (see `details.details_of`).
    """
    body, view_once = _unwrap(mapping_of(message))
    raw_type = _type_in(body, declared_type)
    part = body.get(raw_type)
    fields = mapping_of(part)
    kind = _kind(raw_type, fields, view_once=view_once)
    details = details_of(kind, raw_type, fields)
    quoted = _quoted_id(mapping_of(context), fields, body)
    if kind == "text":
        return Content(kind, raw_type, text=_words_of_text(part), quoted_id=quoted)
    if kind == "reaction":
        return _reaction(raw_type, fields)
    return Content(
        kind,
        raw_type,
        caption=_words(fields) or names_in(details),
        quoted_id=quoted,
        file_name=word_of(fields.get("fileName")),
        details=details,
    )


def _kind(raw_type: str, fields: Mapping[str, object], *, view_once: bool) -> str:
    kind = _KINDS.get(raw_type, "unknown")
    if (view_once or fields.get("viewOnce") is True) and kind in _SECRET_KINDS:
        return "view_once"
    return "voice" if kind == "audio" and fields.get("ptt") is True else kind


def _unwrap(message: Mapping[str, object]) -> tuple[Mapping[str, object], bool]:
    """Return the innermost message and whether a view-once wrapper was around it."""
    view_once = False
    for _ in range(_MAX_WRAPPERS):
        wrapper = next((key for key in message if key in _WRAPPERS), None)
        inner = mapping_of(mapping_of(message.get(wrapper or "")).get("message"))
        if wrapper is None or not inner:
            break
        view_once = view_once or wrapper in _VIEW_ONCE
        message = inner
    return message, view_once


def _type_in(body: Mapping[str, object], declared_type: str) -> str:
    """Choose the content field: the declared type when present, else the first known one.

    The EVOLUTION channel stores media under `mediaUrl` only; there the declared type alone tells the kind.
    """
    if declared_type in body:
        return declared_type
    known = next((key for key in body if key in _KINDS), None)
    return known or declared_type or next(iter(body), "")


def _words_of_text(part: object) -> str | None:
    return text_of(part) if isinstance(part, str) else text_of(mapping_of(part).get("text"))


def _words(fields: Mapping[str, object]) -> str | None:
    for path in _WORDS:
        found: object = fields
        for step in path.split("."):
            found = mapping_of(found).get(step)
        words = word_of(found)
        if words is not None:
            return words
    return None


def _reaction(raw_type: str, fields: Mapping[str, object]) -> Content:
    target = word_of(mapping_of(fields.get("key")).get("id"))
    return Content(
        "reaction",
        raw_type,
        emoji=text_of(fields.get("text")) or "",
        target_id=target,
        timestamp_ms=long_of(fields.get("senderTimestampMs")),
    )


def _quoted_id(
    context: Mapping[str, object], fields: Mapping[str, object], body: Mapping[str, object]
) -> str | None:
    """Find the id of the message replied to: Baileys' context, the part's own, Business' or EVOLUTION's."""
    inner = mapping_of(fields.get("contextInfo"))
    loose = mapping_of(body.get("contextInfo"))
    found = (word_of(place.get("stanzaId")) for place in (context, inner, loose))
    return next(filter(None, found), None) or word_of(mapping_of(body.get("quoted")).get("id"))
