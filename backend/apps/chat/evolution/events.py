"""Webhook JSON to dataclasses: what Evolution says happened, in one vocabulary.

`parse` accepts any JSON and never raises; what cannot be used becomes an `IgnoredEvent` that says why. Fields
of a webhook are claims: nothing here may be used to call out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from . import jids
from .content import read_content
from .scrub import strip_credentials
from .wire import long_of, mapping_of, seconds_of, text_of, word_of

__all__ = [
    "HISTORY",
    "RECORD",
    "ConnectionEvent",
    "DeleteEvent",
    "EditEvent",
    "Event",
    "IgnoredEvent",
    "MessageEvent",
    "StatusEvent",
    "event_name",
    "message_from_record",
    "parse",
    "strip_credentials",
]

HISTORY: Final = "messages.set"
"""What WhatsApp hands over after pairing: old messages, many at once."""
RECORD: Final = "findMessages"
"""A row of Evolution's database, as the gap healer journals it."""

RANK_SUBMITTED: Final = 1
RANK_SENT: Final = 2
RANK_DELIVERED: Final = 3
RANK_SEEN: Final = 4

_RANKS: Final = {
    "PENDING": RANK_SUBMITTED,
    "SERVER_ACK": RANK_SENT,
    "SENT": RANK_SENT,
    "DELIVERY_ACK": RANK_DELIVERED,
    "DELIVERED": RANK_DELIVERED,
    "READ": RANK_SEEN,
    "PLAYED": RANK_SEEN,
}
# Baileys' own numbers, should a status arrive untranslated.
_STATUS_NUMBERS: Final = ("ERROR", "PENDING", "SERVER_ACK", "DELIVERY_ACK", "READ", "PLAYED")
_ERRORS: Final = frozenset({"ERROR", "FAILED"})
_EDIT_TYPES: Final = frozenset({"MESSAGE_EDIT", "14"})
# The shape of an id tells these apart in Baileys; an API send always looks like "web".
_PHONE_SOURCES: Final = frozenset({"ios", "android", "desktop"})


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """A message that exists: customer's, typed on the phone, our own echo, or a stored row of findMessages.

    `alt_jids` are other addresses of one person: `remote_jid` in a direct chat, `participant` in a group.
    `timestamp` is WhatsApp's, in Unix seconds. `status` is the highest rank known (1 submitted, 2 sent,
    3 delivered, 4 seen). `text` is set for texts, `caption` for the words of other kinds, `emoji` (empty when
    taken back), `target_id` and `timestamp_ms` for reactions. `from_phone` says that a person wrote it outside our API;
    on rows of findMessages it is a guess from the id's shape.
    """

    instance_name: str
    source_event: str
    key_id: str
    remote_jid: str
    alt_jids: tuple[str, ...]
    from_me: bool
    participant: str | None
    push_name: str | None
    kind: str
    text: str | None
    quoted_id: str | None
    timestamp: int | None
    status: int | None
    message_type: str
    from_phone: bool
    caption: str | None = None
    file_name: str | None = None
    emoji: str | None = None
    target_id: str | None = None
    error: bool = False
    timestamp_ms: int | None = None
    details: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """An acknowledgement of the message `key_id`: a rank, or a rejection, or a deletion."""

    instance_name: str
    source_event: str
    key_id: str
    remote_jid: str | None
    from_me: bool
    participant: str | None
    rank: int | None
    error: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class EditEvent:
    """The message `key_id` has a new text; None when the content is unavailable.

    `remote_jid` is in the sender's perspective (for a customer's edit it is our own number): match by id.
    `by_us` is true when the edit was made through the API.
    """

    instance_name: str
    source_event: str
    key_id: str
    remote_jid: str | None
    text: str | None
    timestamp_ms: int | None
    by_us: bool


@dataclass(frozen=True, slots=True)
class DeleteEvent:
    """The message `key_id` was deleted for everyone; `by_us` when through the API."""

    instance_name: str
    source_event: str
    key_id: str
    remote_jid: str | None
    from_me: bool
    participant: str | None
    by_us: bool


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """The instance's link to WhatsApp changed: state open, connecting, close or refused."""

    instance_name: str
    source_event: str
    state: str
    status_reason: int | None
    wuid: str | None


@dataclass(frozen=True, slots=True)
class IgnoredEvent:
    """Something to journal and nothing more; `why` starts with "malformed: " when it broke the contract."""

    instance_name: str
    source_event: str
    why: str


Event = MessageEvent | StatusEvent | EditEvent | DeleteEvent | ConnectionEvent | IgnoredEvent


class _MalformedError(Exception):
    """A part of an event lacks what it cannot do without."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    instance: str
    event: str
    own_jid: str | None


def parse(body: object) -> list[Event]:
    """Return the events of one webhook body, at least one. Never raises, whatever the JSON."""
    if not isinstance(body, Mapping):
        return [IgnoredEvent("", "", "malformed: the body is no object")]
    envelope = _Envelope(
        instance=word_of(body.get("instance")) or "",
        event=event_name(body.get("event")),
        own_jid=word_of(body.get("sender")),
    )
    read = _READERS.get(envelope.event)
    if read is None:
        why = "not used" if envelope.event else "malformed: no event name"
        return [IgnoredEvent(envelope.instance, envelope.event, why)]
    return [_read_one(envelope, item, read) for item in _items(body.get("data"))]


def message_from_record(record: object, instance_name: str = "") -> MessageEvent | None:
    """Return a row of findMessages as a message, None when it lacks id or address.

    Its status is the highest of its `MessageUpdate`, whose order is not guaranteed.
    """
    row = mapping_of(record)
    updates = row.get("MessageUpdate")
    statuses = [mapping_of(u).get("status") for u in updates] if isinstance(updates, list) else []
    try:
        return _message(_Envelope(instance_name, RECORD, None), row, statuses)
    except _MalformedError:
        return None


def event_name(value: object) -> str:
    """Return the dotted name; settings and by-event URLs spell the same events with _ and -."""
    return (word_of(value) or "").strip().lower().replace("_", ".").replace("-", ".")


def _read_one(envelope: _Envelope, item: object, read: "_Reader") -> Event:
    if not isinstance(item, Mapping):
        return IgnoredEvent(envelope.instance, envelope.event, "malformed: data is no object")
    try:
        return read(envelope, item)
    except _MalformedError as error:
        return IgnoredEvent(envelope.instance, envelope.event, f"malformed: {error}")


def _items(data: object) -> list[object]:
    return data if isinstance(data, list) and data else [data]


def _required(fields: Mapping[str, object], name: str) -> str:
    word = word_of(fields.get(name))
    if word is None:
        raise _MalformedError(f"{name} is missing")
    return word


def _read_message(envelope: _Envelope, data: Mapping[str, object]) -> Event:
    jid = _required(mapping_of(data.get("key")), "remoteJid")
    if jids.is_status_broadcast(jid):
        return IgnoredEvent(envelope.instance, envelope.event, "status post")
    if jids.is_newsletter(jid):
        return IgnoredEvent(envelope.instance, envelope.event, "newsletter")
    return _message(envelope, data, [data.get("status")])


def _read_record(envelope: _Envelope, data: Mapping[str, object]) -> Event:
    found = message_from_record(data, envelope.instance)
    if found is None:
        raise _MalformedError("the record has no id or no address")
    return found


def _message(envelope: _Envelope, data: Mapping[str, object], statuses: list[object]) -> MessageEvent:
    key = mapping_of(data.get("key"))
    from_me = key.get("fromMe") is True
    content = read_content(
        data.get("message"), word_of(data.get("messageType")) or "", data.get("contextInfo")
    )
    words = [_status_word(status) for status in statuses]
    remote_jid = _required(key, "remoteJid")
    return MessageEvent(
        instance_name=envelope.instance,
        source_event=envelope.event,
        key_id=_required(key, "id"),
        remote_jid=remote_jid,
        alt_jids=_alternates(key, remote_jid, envelope.own_jid),
        from_me=from_me,
        participant=word_of(key.get("participant")),
        push_name=word_of(data.get("pushName")),
        kind=content.kind,
        text=content.text,
        quoted_id=content.quoted_id,
        timestamp=seconds_of(data.get("messageTimestamp")),
        status=_highest(words),
        message_type=content.raw_type,
        from_phone=from_me and _was_typed(envelope.event, data.get("source")),
        caption=content.caption,
        file_name=content.file_name,
        emoji=content.emoji,
        target_id=content.target_id,
        error=not _ERRORS.isdisjoint(words),
        timestamp_ms=content.timestamp_ms,
        details=content.details,
    )


def _was_typed(source_event: str, source: object) -> bool:
    """Tell a message written outside our API: own API sends never arrive as messages.upsert."""
    stored = source_event in (RECORD, HISTORY)
    return source_event == "messages.upsert" or (stored and source in _PHONE_SOURCES)


def _alternates(key: Mapping[str, object], remote_jid: str, own_jid: str | None) -> tuple[str, ...]:
    """Collect the other addresses of the person, never of ourselves.

    `senderPn` and its kin name the sender, who in a direct chat is the contact only when we are not.
    """
    names = ["participantAlt", "participantPn", "participantLid"]
    if not jids.is_group(remote_jid):
        names = ["remoteJidAlt"]
    if key.get("fromMe") is not True:
        names += ["senderPn", "senderLid", "participantPn"]
    known = {remote_jid, word_of(key.get("participant"))}
    ours = jids.canonical_key(own_jid) if own_jid else ""
    found = (word_of(key.get(name)) for name in names)
    return tuple(
        dict.fromkeys(jid for jid in found if jid and jid not in known and _names_a_person(jid, ours))
    )


def _names_a_person(jid: str, ours: str) -> bool:
    return (jids.is_phone(jid) or jids.is_lid(jid)) and jids.canonical_key(jid) != ours


def _status_word(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return _STATUS_NUMBERS[value] if 0 <= value < len(_STATUS_NUMBERS) else ""
    return (word_of(value) or "").strip().upper()


def _highest(words: Iterable[str]) -> int | None:
    return max((_RANKS[word] for word in words if word in _RANKS), default=None)


def _read_status(envelope: _Envelope, data: Mapping[str, object]) -> Event:
    """Read an acknowledgement. `messageId` is a database id of the server; the message's id is `keyId`."""
    word = _status_word(data.get("status"))
    if word not in _RANKS and word not in _ERRORS and word != "DELETED":
        return IgnoredEvent(envelope.instance, envelope.event, "no known status")
    return StatusEvent(
        instance_name=envelope.instance,
        source_event=envelope.event,
        key_id=_required(data, "keyId"),
        remote_jid=word_of(data.get("remoteJid")),
        from_me=data.get("fromMe") is True,
        participant=word_of(data.get("participant")),
        rank=_RANKS.get(word),
        error=word in _ERRORS,
        deleted=word == "DELETED",
    )


def _read_edit(envelope: _Envelope, data: Mapping[str, object]) -> Event:
    """Read an edit. Any protocol message comes as `messages.edited`; a REVOKE has its own messages.delete."""
    kind = str(data.get("type"))
    if kind not in _EDIT_TYPES:
        return IgnoredEvent(envelope.instance, envelope.event, "protocol message, no edit")
    key = mapping_of(data.get("key"))
    edited = mapping_of(data.get("editedMessage"))
    content = read_content(mapping_of(edited.get("message")) or edited, "", None)
    return EditEvent(
        instance_name=envelope.instance,
        source_event=envelope.event,
        key_id=_required(key, "id"),
        remote_jid=word_of(key.get("remoteJid")),
        text=content.text if content.text is not None else content.caption,
        timestamp_ms=long_of(data.get("timestampMs")),
        by_us=envelope.event == "send.message.update",
    )


def _read_delete(envelope: _Envelope, data: Mapping[str, object]) -> Event:
    """Read a deletion: a bare key when the peer revoked, a stored row with a key when our API did."""
    by_us = isinstance(data.get("key"), Mapping)
    key = mapping_of(data.get("key")) if by_us else data
    return DeleteEvent(
        instance_name=envelope.instance,
        source_event=envelope.event,
        key_id=_required(key, "id"),
        remote_jid=word_of(key.get("remoteJid")),
        from_me=key.get("fromMe") is True,
        participant=word_of(key.get("participant")) or word_of(data.get("participant")),
        by_us=by_us,
    )


def _read_connection(envelope: _Envelope, data: Mapping[str, object]) -> Event:
    return ConnectionEvent(
        instance_name=envelope.instance or text_of(data.get("instance")) or "",
        source_event=envelope.event,
        state=_required(data, "state"),
        status_reason=long_of(data.get("statusReason")),
        wuid=word_of(data.get("wuid")),
    )


_Reader = Callable[[_Envelope, Mapping[str, object]], Event]

_READERS: Final[Mapping[str, _Reader]] = {
    "messages.upsert": _read_message,
    "send.message": _read_message,
    "messages.set": _read_message,
    "findmessages": _read_record,
    "messages.update": _read_status,
    "messages.edited": _read_edit,
    "send.message.update": _read_edit,
    "messages.delete": _read_delete,
    "connection.update": _read_connection,
}
