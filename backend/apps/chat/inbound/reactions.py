"""Reactions, whichever of message and reaction comes first. They are no messages: nothing to read, nothing to answer.

A reaction before its message waits as an `Evidence` row under `react:<id>`, one entry per person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from django.db import transaction

from apps.chat.delivery import gate, reactions
from apps.chat.delivery.reactions import OURS
from apps.chat.evolution import jids
from apps.chat.evolution.events import MessageEvent
from apps.chat.inbound import locks
from apps.chat.inbound.times import edit_time, sent_time
from apps.chat.models import Evidence, Message, WebhookEvent

KIND: Final = "reaction"
PARKED_PREFIX: Final = "react:"
ID_LENGTH: Final = 128 - len(PARKED_PREFIX)
_MOST_PARKED: Final = 256

Parked = dict[str, list[str]]


def reacted(row: WebhookEvent, event: MessageEvent) -> str:
    """Put the emoji on its message; before the message is known, the reaction waits for it."""
    target = event.target_id or ""
    if not target or len(target) > ID_LENGTH:
        return "ignored: malformed: a reaction to nothing"
    author = OURS if event.from_me else _author(event)
    with transaction.atomic():
        locks.hold(row.instance_id, target)
        if not event.from_me:
            gate.heard(row.instance)
        message = reactions.message_named(row.instance_id, target)
        if message is None:
            return _park(row, target, author, event.emoji or "", _time(row, event))
        in_group = jids.is_group(event.remote_jid)
        changed = reactions.put(message, author, event.emoji or "", _time(row, event), in_group=in_group)
        if changed:
            transaction.on_commit(lambda: reactions.tell(message), robust=True)
    return "reaction" if changed else "known reaction"


def attach(message: Message, *, in_group: bool) -> None:
    """Give a message the reactions that came before it. Its id is held; call inside the transaction."""
    if message.provider_id is None or len(message.provider_id) > ID_LENGTH:
        return
    rows = Evidence.objects.filter(
        instance_id=message.instance_id, provider_id=f"{PARKED_PREFIX}{message.provider_id}"
    )
    parked = rows.first()
    if parked is not None:
        parked.delete()
        put_parked(message, parked.record, in_group=in_group)


def put_parked(message: Message, record: object, *, in_group: bool) -> None:
    """Put the reactions of an `Evidence` row's record on their message."""
    waiting = _entries(record)
    for author, (at, emoji) in sorted(waiting.items()):
        reactions.put(message, author, emoji, datetime.fromisoformat(at), in_group=in_group)
    if waiting:
        transaction.on_commit(lambda: reactions.tell(message), robust=True)


def _author(event: MessageEvent) -> str:
    """The reacting person's key: by the phone number when it is known, for LIDs come and go."""
    first = event.participant if event.participant else event.remote_jid
    addresses = [first, *event.alt_jids]
    return jids.canonical_key(next((one for one in addresses if jids.is_phone(one)), first))[:128]


def _time(row: WebhookEvent, event: MessageEvent) -> datetime:
    """When the person reacted, by their phone; by WhatsApp's whole second where that is missing."""
    if event.timestamp_ms is not None:
        return edit_time(event.timestamp_ms, row.received_at)
    return sent_time(event.timestamp, row.received_at)


def _park(row: WebhookEvent, target: str, author: str, emoji: str, at: datetime) -> str:
    entry = [at.astimezone(UTC).isoformat(timespec="microseconds"), emoji[: reactions.EMOJI_LENGTH]]
    parked, made = Evidence.objects.get_or_create(
        instance_id=row.instance_id,
        provider_id=f"{PARKED_PREFIX}{target}",
        defaults={"record": {author: entry}},
    )
    if not made:
        entries = _entries(parked.record)
        if author in entries or len(entries) < _MOST_PARKED:
            parked.record = {**entries, author: max(entry, entries.get(author, entry))}
            parked.save(update_fields=["record"])
    return "reaction parked"


def _entries(record: object) -> Parked:
    return dict(record) if isinstance(record, Mapping) else {}
