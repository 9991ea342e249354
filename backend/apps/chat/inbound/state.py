"""What the webhooks of an instance have made of our rows, as plain data and as one hash.

Two runs of the same journal, in whatever order and however often, must end in the same hash. So nothing is in it that
depends on when a webhook was applied: no ids of ours, no times of receipt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.chat.evolution import jids
from apps.chat.models import (
    Contact,
    ContactJid,
    Conversation,
    Evidence,
    Instance,
    Message,
    MessageReaction,
)

_CHUNK = 2000

Keys = dict[UUID, list[str]]


def state_of(instance: Instance) -> dict[str, list[Any]]:
    """Everything inbound decides about one instance, sorted. For tests and for people: it holds what people wrote."""
    keys = _keys(instance.tenant_id)
    return {
        "contacts": sorted(_contacts(instance.tenant_id, keys)),
        "conversations": sorted(_conversations(instance, keys)),
        "messages": sorted(_messages(instance, keys)),
        "reactions": sorted(_reactions(instance)),
        "evidence": sorted(_evidence(instance)),
    }


def state_hash(instance: Instance) -> str:
    """The state in 64 hex digits; a part of it at a time, so that it takes no more memory than its largest table."""
    digest = hashlib.sha256()
    keys = _keys(instance.tenant_id)
    parts: tuple[tuple[str, Iterable[Any]], ...] = (
        ("contacts", _contacts(instance.tenant_id, keys)),
        ("conversations", _conversations(instance, keys)),
        ("messages", _messages(instance, keys)),
        ("reactions", _reactions(instance)),
        ("evidence", _evidence(instance)),
    )
    for name, rows in parts:
        digest.update(name.encode())
        for line in sorted(hashlib.sha256(_line(row)).digest() for row in rows):
            digest.update(line)
    return digest.hexdigest()


def _line(row: object) -> bytes:
    return json.dumps(row, ensure_ascii=True, sort_keys=True).encode()


def _keys(tenant_id: UUID) -> Keys:
    keys: Keys = {}
    for contact_id, key in ContactJid.objects.filter(tenant_id=tenant_id).values_list("contact_id", "key"):
        keys.setdefault(contact_id, []).append(key)
    return {contact_id: sorted(found) for contact_id, found in keys.items()}


def _contacts(tenant_id: UUID, keys: Keys) -> Iterator[list[Any]]:
    rows = Contact.objects.filter(tenant_id=tenant_id).values_list("id", "kind", "name")
    return ([keys.get(pk, []), kind, name] for pk, kind, name in rows)


def _conversations(instance: Instance, keys: Keys) -> Iterator[list[Any]]:
    for row in Conversation.objects.filter(instance=instance).iterator(_CHUNK):
        yield [
            keys.get(row.contact_id, []),
            jids.canonical_key(row.remote_jid),
            row.status,
            row.unread_count,
            _second(row.last_message_at),
            row.last_message_preview,
        ]


def _messages(instance: Instance, keys: Keys) -> Iterator[list[Any]]:
    rows = Message.objects.select_related("conversation", "reply_to").filter(instance=instance)
    for row in rows.iterator(_CHUNK):
        yield [
            row.provider_id or "",
            keys.get(row.conversation.contact_id, []),
            row.direction,
            row.origin,
            row.kind,
            row.content,
            json.dumps(row.details, sort_keys=True),
            row.author_name,
            row.author_jid,
            (row.reply_to.provider_id or "") if row.reply_to else "",
            row.ack,
            row.ack_error,
            row.recovered,
            row.read_at is not None,
            _second(row.sort_at),
            _second(row.edited_at) if row.edited_at else "",
            row.deleted_at is not None,
        ]


def _reactions(instance: Instance) -> Iterator[list[Any]]:
    """In a direct chat everybody who is not us is one person, under whichever address."""
    rows = MessageReaction.objects.select_related("message__conversation").filter(message__instance=instance)
    for row in rows.iterator(_CHUNK):
        direct = not jids.is_group(row.message.conversation.remote_jid)
        author = "them" if row.author and direct else row.author
        yield [row.message.provider_id or "", author, row.emoji, row.reacted_at.isoformat()]


def _evidence(instance: Instance) -> Iterator[list[Any]]:
    for row in Evidence.objects.filter(instance=instance).iterator(_CHUNK):
        record = dict(row.record or {})
        if record.get("deleted_at"):
            record["deleted_at"] = True  # the time of receipt, for WhatsApp tells none
        yield [row.provider_id, row.ack, row.ack_error, json.dumps(record, sort_keys=True)]


def _second(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat()
