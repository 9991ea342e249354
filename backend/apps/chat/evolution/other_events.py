"""Webhooks beside messages: names, groups, calls, presence. The counterpart of `events`, with the same rules.

`parse_other` answers an empty list for events it has nothing to say of; it never raises.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from . import jids
from .wire import long_of, mapping_of, text_of, word_of

__all__ = [
    "CallEvent",
    "Named",
    "NamesEvent",
    "OtherEvent",
    "ParticipantsEvent",
    "Person",
    "Presence",
    "parse_other",
    "presence_of",
]

_MOST: Final = 20_000
_MOST_PEOPLE: Final = 1024
_NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Named:
    """An address and the name WhatsApp has for it: a person's, or a group's subject."""

    jid: str
    name: str


@dataclass(frozen=True, slots=True)
class NamesEvent:
    """Names as the address book, the chats or the groups have them; those without a name are left out.

    `certain` is false for names that must not replace one we know (the name of a chat may be a number).
    """

    source_event: str
    names: tuple[Named, ...]
    certain: bool


@dataclass(frozen=True, slots=True)
class Person:
    """Someone under one or more addresses."""

    addresses: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class ParticipantsEvent:
    """People who were added to a group, left it, or changed their place in it."""

    source_event: str
    group: str
    action: str
    author: Person
    participants: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One moment of a call: offer, ringing, accept, reject, timeout or terminate.

    `chat` is the caller's address, or the group's; `at` is WhatsApp's time of this moment.
    """

    source_event: str
    call_id: str
    chat: str
    caller: str
    status: str
    video: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Presence:
    """Somebody in a chat is composing or recording, or not any more."""

    chat: str
    typing: bool


OtherEvent = NamesEvent | ParticipantsEvent | CallEvent


def parse_other(event: str, data: object) -> list[OtherEvent]:
    """The events of one webhook by its dotted name."""
    read = _READERS.get(event)
    if read is None:
        return []
    found = (read(event, mapping_of(item)) for item in _items(data))
    return _joined([one for one in found if one is not None])


def presence_of(data: object) -> Presence | None:
    """What a `presence.update` says of its chat; None when it says nothing of typing."""
    fields = mapping_of(data)
    chat = word_of(fields.get("id"))
    seen = [mapping_of(one).get("lastKnownPresence") for one in mapping_of(fields.get("presences")).values()]
    words = {word for word in seen if isinstance(word, str)}
    if chat is None or not words:
        return None
    if words & {"composing", "recording"}:
        return Presence(chat, typing=True)
    return Presence(chat, typing=False)


def _items(data: object) -> list[object]:
    return data[:_MOST] if isinstance(data, list) else [data]


def _joined(events: list[OtherEvent]) -> list[OtherEvent]:
    """Names of one webhook as one event, so that thousands of them are written together."""
    names = [event for event in events if isinstance(event, NamesEvent)]
    rest: list[OtherEvent] = [event for event in events if not isinstance(event, NamesEvent)]
    if not names:
        return rest
    everyone = tuple(named for event in names for named in event.names)
    return [NamesEvent(names[0].source_event, everyone, names[0].certain), *rest]


def _contact(event: str, fields: Mapping[str, object]) -> NamesEvent | None:
    """A group's entry carries the name of whoever spoke last in it: that is nobody's name."""
    jid, name = word_of(fields.get("remoteJid")), word_of(fields.get("pushName"))
    if jid is None or name is None or not (jids.is_phone(jid) or jids.is_lid(jid)):
        return None
    return NamesEvent(event, (Named(jid, name[:_NAME_LENGTH]),), certain=True)


def _chat(event: str, fields: Mapping[str, object]) -> NamesEvent | None:
    jid, name = word_of(fields.get("remoteJid")), word_of(fields.get("name"))
    if jid is None or name is None:
        return None
    return NamesEvent(event, (Named(jid, name[:_NAME_LENGTH]),), certain=False)


def _group(event: str, fields: Mapping[str, object]) -> NamesEvent | None:
    jid, subject = word_of(fields.get("id")), word_of(fields.get("subject"))
    if jid is None or subject is None or not jids.is_group(jid):
        return None
    return NamesEvent(event, (Named(jid, subject[:_NAME_LENGTH]),), certain=True)


def _participants(event: str, fields: Mapping[str, object]) -> ParticipantsEvent | None:
    group, action = word_of(fields.get("id")), word_of(fields.get("action"))
    people = fields.get("participants")
    if group is None or action is None or not jids.is_group(group) or not isinstance(people, list):
        return None
    described = _described(fields.get("participantsData"))
    found = (_person(one, described) for one in people[:_MOST_PEOPLE])
    author = Person(_words(fields.get("author"), fields.get("authorPn")))
    return ParticipantsEvent(event, group, action[:20], author, tuple(one for one in found if one.addresses))


def _described(people: object) -> dict[str, Mapping[str, object]]:
    rows = [mapping_of(one) for one in people] if isinstance(people, list) else []
    return {jid: row for row in rows if (jid := word_of(row.get("jid")))}


def _person(value: object, described: Mapping[str, Mapping[str, object]]) -> Person:
    """A participant as an object (2.3.6), or a bare address with its particulars beside the list."""
    jid = word_of(value) if isinstance(value, str) else word_of(mapping_of(value).get("id"))
    fields = described.get(jid or "") or mapping_of(value)
    name = word_of(fields.get("name")) or ""
    return Person(_words(jid, fields.get("phoneNumber")), name[:_NAME_LENGTH])


def _words(*values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_addresses(values)))


def _addresses(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        word = word_of(value)
        if word and (jids.is_phone(word) or jids.is_lid(word)):
            yield word


def _call(event: str, fields: Mapping[str, object]) -> CallEvent | None:
    call_id, caller = word_of(fields.get("id")), word_of(fields.get("from"))
    chat = word_of(fields.get("groupJid")) or word_of(fields.get("chatId")) or caller
    status = (text_of(fields.get("status")) or "").lower()
    if call_id is None or chat is None or not status or len(call_id) > 100:
        return None
    video = fields.get("isVideo") is True
    return CallEvent(event, call_id, chat, caller or chat, status[:20], video, _date(fields.get("date")))


def _date(value: object) -> datetime | None:
    """An ISO date with its zone, or milliseconds."""
    number = long_of(value)
    try:
        if number is not None:
            return datetime.fromtimestamp(number / 1000).astimezone()
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    return at if at is not None and at.tzinfo is not None else None


_Reader = Callable[[str, Mapping[str, object]], OtherEvent | None]

_READERS: Final[Mapping[str, _Reader]] = {
    "contacts.upsert": _contact,
    "contacts.update": _contact,
    "contacts.set": _contact,
    "chats.upsert": _chat,
    "chats.set": _chat,
    "groups.upsert": _group,
    "group.update": _group,
    "groups.update": _group,
    "group.participants.update": _participants,
    "call": _call,
}
