"""Writing what was found out. What is not known never replaces what is; browsers hear of what changed."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from apps.chat.evolution.queries import GroupInfo
from apps.chat.lookups import INSTANCE_SECRETS
from apps.chat.models import Contact, Conversation
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

NAME_LENGTH: Final = 200
DESCRIPTION_LENGTH: Final = 4000
_NUMBER: Final = re.compile(r"[\d\s()+./:-]*(@[\w.]*)?")


def looked(contact_id: UUID, column: str) -> None:
    """WhatsApp was asked and said nothing new; `column` is the time of that kind."""
    Contact.objects.filter(pk=contact_id).update(**{column: Now()})


def set_picture(contact_id: UUID, name: str, sha256: str, mime: str) -> bool:
    """The contact's picture is this file in the storage; whether it was another before."""
    values = {"picture": name, "picture_sha256": sha256, "picture_type": mime}
    return _write(contact_id, "picture_checked_at", values)


def set_name(contact_id: UUID, name: str | None) -> bool:
    """The name a person gave themselves; a number or nothing is no name."""
    values = {"name": name.strip()[:NAME_LENGTH]} if name and is_name(name) else {}
    return _write(contact_id, "name_checked_at", values, kind=Contact.Kind.INDIVIDUAL)


def set_group(contact_id: UUID, card: GroupInfo) -> bool:
    """A group's card: what it leaves out stays as it was."""
    values: dict[str, Any] = {}
    if card.subject and card.subject.strip():
        values["name"] = card.subject.strip()[:NAME_LENGTH]
    if card.description:
        values["description"] = card.description[:DESCRIPTION_LENGTH]
    if card.size is not None and card.size >= 0:
        values["members"] = card.size
    return _write(contact_id, "group_checked_at", values, kind=Contact.Kind.GROUP)


def is_name(text: str) -> bool:
    """Evolution fills in the number where a contact has no name."""
    return not _NUMBER.fullmatch(text.strip())


@transaction.atomic
def _write(contact_id: UUID, checked: str, values: dict[str, Any], **only: Any) -> bool:
    row = Contact.objects.select_for_update(no_key=True).filter(pk=contact_id, **only).first()
    if row is None:
        return False
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if "name" in changed:
        changed["name_at"] = Now()
    Contact.objects.filter(pk=contact_id).update(**changed, **{checked: Now()})
    if changed:
        transaction.on_commit(lambda: tell(contact_id))
    return bool(changed)


def tell(contact_id: UUID) -> None:
    """Show the contact's conversations anew."""
    rows = Conversation.objects.select_related("contact", "instance", "assigned_to").defer(*INSTANCE_SECRETS)
    for conversation in rows.filter(contact_id=contact_id):
        publish(conversation.tenant_id, events.conversation_updated(conversation))
