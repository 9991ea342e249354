"""Webhooks that pass: they are acted on at once and not journalled, since nothing of them is worth keeping.

Typing is over before a journal is read. A QR code links an account, so it is kept sealed on its instance, the latest
only. And `contacts.update`, which comes with each message, is dropped when it says what it said before.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from typing import Any, Final
from uuid import UUID

from django.db.models.functions import Now

from apps.chat.evolution import jids
from apps.chat.evolution.events import event_name
from apps.chat.evolution.other_events import NamesEvent, Presence, parse_other, presence_of
from apps.chat.evolution.wire import mapping_of, text_of
from apps.chat.journal import Entry
from apps.chat.models import ContactJid, Conversation, Instance
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

WHY: Final = {
    "presence.update": "presence",
    "qrcode.updated": "qr code",
    "contacts.update": "known name",
    "chats.update": "says nothing",
}
_REMEMBERED: Final = 20_000
_CONVERSATION_SECONDS: Final = 60.0
_TYPING_AGAIN_SECONDS: Final = 3.0
_NAMES_SECONDS: Final = 3600.0

_names: OrderedDict[tuple[UUID, bytes], float] = OrderedDict()
_conversations: OrderedDict[tuple[UUID, str], tuple[float, tuple[UUID, UUID] | None]] = OrderedDict()
_typing: OrderedDict[UUID, tuple[float, bool]] = OrderedDict()


async def taken(entry: Entry) -> bool:
    """Was this all that there is to do about the webhook? False: it must be journalled.

    Raises:
        DatabaseError: it cannot be told or kept now.
    """
    name = event_name(entry.event)
    if name not in WHY:
        return False
    data = entry.body.get("data")
    if name == "presence.update":
        await _tell_typing(entry.instance_id, presence_of(data))
        return True
    if name == "qrcode.updated":
        await _keep_qr(entry.instance_id, data)
        return True
    return name == "chats.update" or _says_nothing_new(entry)


def forget() -> None:
    """Empty what is remembered, for tests."""
    for memory in (_names, _conversations, _typing):
        memory.clear()


# --- names ----------------------------------------------------------------------------------------


def stored(entry: Entry) -> None:
    """The webhook is in the journal: the same names need not come there again soon."""
    if event_name(entry.event) == "contacts.update" and (said := _said(entry)) is not None:
        _names[entry.instance_id, said] = time.monotonic()
        _trim(_names)


def _says_nothing_new(entry: Entry) -> bool:
    """Did we journal these names within the hour? Another process, or a restart, journals them once more."""
    said = _said(entry)
    known_at = _names.get((entry.instance_id, said or b""), -_NAMES_SECONDS)
    return said is None or time.monotonic() - known_at < _NAMES_SECONDS


def _said(entry: Entry) -> bytes | None:
    """The names in short; None without any."""
    told = parse_other("contacts.update", entry.body.get("data"))
    names = [one for event in told if isinstance(event, NamesEvent) for one in event.names]
    return hashlib.blake2b(repr(names).encode(errors="replace"), digest_size=16).digest() if names else None


# --- QR codes -------------------------------------------------------------------------------------


async def _keep_qr(instance_id: UUID, data: object) -> None:
    """The latest code; without one the limit of codes was reached, and there is none any more."""
    code = mapping_of(mapping_of(data).get("qrcode"))
    kept = {name: text_of(code.get(name)) for name in ("code", "base64", "pairingCode")}
    sealed = json.dumps(kept) if any(kept.values()) else ""
    await Instance.objects.filter(pk=instance_id).aupdate(qr=sealed, qr_at=Now())


# --- typing ---------------------------------------------------------------------------------------


async def _tell_typing(instance_id: UUID, presence: Presence | None) -> None:
    if presence is None or len(presence.chat) > 128:
        return
    found = await _conversation(instance_id, jids.canonical_key(presence.chat))
    if found is None:
        return
    tenant_id, conversation_id = found
    at, typing = _typing.get(conversation_id, (-_TYPING_AGAIN_SECONDS, False))
    now = time.monotonic()
    if typing == presence.typing and now - at < _TYPING_AGAIN_SECONDS:
        return
    _typing[conversation_id] = now, presence.typing
    _trim(_typing)
    publish(tenant_id, events.typing(conversation_id=conversation_id, user=None, active=presence.typing))


async def _conversation(instance_id: UUID, key: str) -> tuple[UUID, UUID] | None:
    """(tenant, conversation) of whoever has this address on this instance, remembered for a minute."""
    at, found = _conversations.get((instance_id, key), (-_CONVERSATION_SECONDS, None))
    if time.monotonic() - at < _CONVERSATION_SECONDS:
        return found
    tenant_id = await Instance.objects.filter(pk=instance_id).values_list("tenant_id", flat=True).afirst()
    if tenant_id is None:
        return None
    contact = ContactJid.objects.filter(tenant_id=tenant_id, key=key).values("contact_id")
    rows = Conversation.objects.filter(instance_id=instance_id, contact_id__in=contact)
    pk = await rows.values_list("pk", flat=True).afirst()
    found = None if pk is None else (tenant_id, pk)
    _conversations[instance_id, key] = time.monotonic(), found
    _trim(_conversations)
    return found


def _trim(memory: OrderedDict[Any, Any]) -> None:
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)
