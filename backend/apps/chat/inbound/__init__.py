"""What WhatsApp tells us: one journalled webhook applied to our rows.

Applying is idempotent and does not depend on order: a message is stored once under its id, an ack only rises,
the latest edit wins, and what comes before its message waits for it. So the journal may be applied twice, by
two processes, or shuffled, and the rows end the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from apps.chat.evolution.events import (
    ConnectionEvent,
    DeleteEvent,
    EditEvent,
    Event,
    IgnoredEvent,
    MessageEvent,
    StatusEvent,
    event_name,
    parse,
)
from apps.chat.evolution.other_events import (
    CallEvent,
    NamesEvent,
    OtherEvent,
    ParticipantsEvent,
    parse_other,
)
from apps.chat.inbound import changes, connections, messages, names, notes, reactions, statuses
from apps.chat.models import WebhookEvent

__all__ = ["IGNORED", "LATER", "apply", "events_of", "settled"]

IGNORED = "ignored"
# What comes after pairing, thousands at once: applied beside what happens now, never before it.
LATER = frozenset({"messages.set", "chats.set", "contacts.set", "contacts.upsert"})
_NOTE_LENGTH = 200


def apply(row: WebhookEvent) -> str:
    """Do what the webhook says; the answer is a note, which starts with `ignored` when nothing was done.

    Opens its own transactions: evidence about our sends must commit by itself (see `delivery.evidence`).
    Whatever it raises, the row may be applied again.
    """
    said = dict.fromkeys(_apply_one(row, event) for event in events_of(row.body))
    done = [note for note in said if not note.startswith(IGNORED)]
    return ", ".join(done or said)[:_NOTE_LENGTH]


def settled(body: dict[str, object]) -> str | None:
    """The note of a webhook from which nothing follows, whatever our rows say; None for all others."""
    name = event_name(body.get("event"))
    if name in LATER or connections.instance_events(body) or parse_other(name, body.get("data")):
        return None
    reasons = dict.fromkeys(event.why if isinstance(event, IgnoredEvent) else None for event in parse(body))
    return None if None in reasons else f"{IGNORED}: {', '.join(filter(None, reasons))}"[:_NOTE_LENGTH]


def events_of(body: dict[str, object]) -> Sequence[Event | OtherEvent]:
    """What a webhook says; a batch of history says many things."""
    other = parse_other(event_name(body.get("event")), body.get("data"))
    return other or connections.instance_events(body) or parse(body)


def _apply_one(row: WebhookEvent, event: Event | OtherEvent) -> str:
    if isinstance(event, IgnoredEvent):
        return f"{IGNORED}: {event.why}"
    if isinstance(event, ConnectionEvent):
        return connections.changed(row, event)
    if isinstance(event, NamesEvent):
        return names.named(row, event)
    if isinstance(event, CallEvent):
        return notes.called(row, event)
    if isinstance(event, ParticipantsEvent):
        return notes.participants_changed(row, event)
    if len(event.key_id) > messages.ID_LENGTH:
        return f"{IGNORED}: malformed: the id is too long"
    if isinstance(event, MessageEvent) and event.kind == reactions.KIND:
        return messages.reacted(row, event)
    if isinstance(event, MessageEvent):
        return messages.own(row, event) if event.from_me else messages.received(row, event)
    if isinstance(event, StatusEvent):
        return statuses.acknowledged(row, event)
    return _changed(row, event)


def _changed(row: WebhookEvent, event: EditEvent | DeleteEvent) -> str:
    if isinstance(event, EditEvent):
        return changes.edited(row, event)
    return changes.deleted(row, event.key_id)
