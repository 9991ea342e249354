"""Names as WhatsApp tells them by themselves: the address book's, a group's subject.

Thousands may come in one webhook, so they are written together. The latest name told stays; a missing one never
replaces a known one, and nothing that is said in a group names the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db import transaction

from apps.chat import contacts
from apps.chat.evolution import jids
from apps.chat.evolution.other_events import Named, NamesEvent
from apps.chat.models import Contact, ContactJid, Conversation, WebhookEvent
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

_AT_ONCE: Final = 50
_TOLD_AT_MOST: Final = 50


def named(row: WebhookEvent, event: NamesEvent) -> str:
    """Take the names; those of chats only for groups, where they are subjects."""
    wanted = {
        jids.canonical_key(one.jid): one
        for one in event.names
        if len(one.jid) <= 128 and (event.certain or jids.is_group(one.jid))
    }
    changed: list[UUID] = []
    for some in _batched(sorted(wanted.items())):
        changed += _take(row, dict(some))
    _tell(row, changed)
    return "names" if changed else "known names"


def _batched(pairs: Sequence[tuple[str, Named]]) -> list[Sequence[tuple[str, Named]]]:
    return [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]


@transaction.atomic
def _take(row: WebhookEvent, wanted: dict[str, Named]) -> list[UUID]:
    """Name the contacts, making those we do not know; ids of those that are new or have another name now."""
    tenant_id = row.instance.tenant_id
    rows = ContactJid.objects.select_related("contact").filter(tenant_id=tenant_id, key__in=list(wanted))
    known = {found.key: found.contact for found in rows}
    changed, told = [], []
    for key, contact in known.items():
        before = contact.name
        if contacts.call(contact, wanted[key].name, row.received_at):
            told.append(contact)
            changed += [contact.pk] if contact.name != before else []
    Contact.objects.bulk_update(told, ["name", "name_at"])
    for key in sorted(wanted.keys() - known.keys()):
        contact = contacts.find_or_create(tenant_id, [wanted[key].jid])
        contacts.call(contact, wanted[key].name, row.received_at)
        contact.save(update_fields=["name", "name_at"])
        changed.append(contact.pk)
    return changed


def _tell(row: WebhookEvent, ids: Sequence[UUID]) -> None:
    """Tell the browsers; after a whole address book they find out by themselves."""
    if not ids or len(ids) > _TOLD_AT_MOST:
        return
    listed = Conversation.objects.select_related("contact", "instance", "assigned_to")
    unsealed = listed.defer("instance__api_key", "instance__webhook_secret", "instance__qr")
    for conversation in unsealed.filter(contact_id__in=ids):
        publish(conversation.tenant_id, events.conversation_updated(conversation))
