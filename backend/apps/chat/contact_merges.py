"""Two contacts that prove to be one person: made one, recorded so that it can be undone, and not made one again then.

Addresses move at once, so that whatever comes next finds one conversation. A conversation of the one that leaves moves
too, unless both have one on the same instance and something was ever sent in it: deliveries keep their lane, so that
conversation stays where it is, as history.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from apps.chat.errors import Conflict
from apps.chat.evolution import jids
from apps.chat.models import (
    Contact,
    ContactJid,
    ContactMerge,
    Conversation,
    Delivery,
    Evidence,
    Instance,
    Message,
)
from apps.tenancy.models import User

logger = logging.getLogger(__name__)

Json = dict[str, Any]


def one_of(tenant_id: UUID, found: Mapping[str, ContactJid], meant: str) -> Contact:
    """The contact that all of these addresses mean; several are merged into one, the holder of the phone number.

    Args:
        found: addresses that somebody holds, by key.
        meant: the key that decides when a person has said that these are not one.
    """
    ranked = sorted(found.values(), key=lambda row: (not jids.is_phone(row.key), row.contact_id))
    stays = ranked[0].contact
    others = {row.contact_id: row.contact for row in ranked if row.contact_id != stays.id}
    if not others:
        return stays
    if _kept_apart(tenant_id, {stays.id, *others}):
        return found[meant].contact if meant in found else stays
    for other in others.values():
        merge(other, stays, sorted(found))
    return stays


def _kept_apart(tenant_id: UUID, ids: set[UUID]) -> bool:
    """Did a person undo the merge of two of these contacts?"""
    undone = ContactMerge.objects.filter(tenant_id=tenant_id, undone_at__isnull=False, contact_id__in=ids)
    left = {str(pk) for pk in ids}
    return any(record["id"] in left for record in undone.values_list("left", flat=True))


def merge(leaves: Contact, stays: Contact, why: Sequence[str] = ()) -> ContactMerge:
    """Make one person of two. Call inside a transaction; `why` are the addresses that came together."""
    addresses = list(ContactJid.objects.filter(contact=leaves).values("key", "jid"))
    left: Json = {
        "id": str(leaves.id),
        "kind": leaves.kind,
        "name": leaves.name,
        "name_at": leaves.name_at.isoformat() if leaves.name_at else None,
        "phone": leaves.phone,
        "addresses": addresses,
        "stayed": {"name": stays.name, "phone": stays.phone},
        "conversations": [
            _move(conversation, stays) for conversation in _locked_conversations(leaves, stays)
        ],
    }
    ContactJid.objects.filter(contact=leaves).update(contact=stays)
    _take_name(leaves, stays)
    record = ContactMerge.objects.create(
        tenant_id=stays.tenant_id, contact=stays, left=left, why=list(why), at=timezone.now()
    )
    ContactMerge.objects.filter(contact=leaves).update(contact=stays)
    logger.info("contacts merged", extra={"contact": str(stays.id), "was": str(leaves.id)})
    if not Conversation.objects.filter(contact=leaves).exists():
        leaves.delete()
    return record


def _take_name(leaves: Contact, stays: Contact) -> None:
    """The later name of the two; a name without a time only where there is none."""
    older = stays.name_at is None or (
        leaves.name_at is not None and (leaves.name_at, leaves.name) > (stays.name_at, stays.name)
    )
    if leaves.name and ((leaves.name_at and older) or not stays.name):
        stays.name, stays.name_at = leaves.name, leaves.name_at
    if not stays.phone:
        stays.phone = leaves.phone
    stays.save(update_fields=["name", "name_at", "phone"])


def _locked_conversations(leaves: Contact, stays: Contact) -> list[Conversation]:
    """Lock both people's conversations in the order of their ids; answer those of the one that leaves."""
    both = (
        Conversation.objects.select_for_update(no_key=True).filter(contact__in=[leaves, stays]).order_by("id")
    )
    return [conversation for conversation in both if conversation.contact_id == leaves.id]


def _move(conversation: Conversation, stays: Contact) -> Json:
    """What became of one conversation of the contact that leaves, for the record."""
    target = Conversation.objects.filter(instance_id=conversation.instance_id, contact=stays).first()
    about: Json = {"id": str(conversation.pk), "instance": str(conversation.instance_id)}
    if target is None:
        Conversation.objects.filter(pk=conversation.pk).update(contact=stays)
        return {**about, "did": "moved"}
    if Delivery.objects.filter(message__conversation=conversation).exists():
        return {**about, "did": "stayed"}
    return {**about, "did": "poured", "into": str(target.pk), **_pour(conversation, target)}


def _pour(source: Conversation, target: Conversation) -> Json:
    """Move what was said into `target` and remove the emptied conversation; answers what the source was."""
    messages = Message.objects.filter(conversation=source)
    was = {
        "remote_jid": source.remote_jid,
        "status": source.status,
        "assigned_to": str(source.assigned_to_id) if source.assigned_to_id else None,
        "messages": [str(pk) for pk in messages.values_list("pk", flat=True)],
    }
    messages.update(conversation=target)
    _link_replies(target)
    Evidence.objects.filter(conversation=source).update(conversation=target)
    target.unread_count += source.unread_count
    if source.last_message_at > target.last_message_at or not target.last_message_preview:
        target.last_message_preview = source.last_message_preview
    target.last_message_at = max(target.last_message_at, source.last_message_at)
    if target.status == Conversation.Status.CLOSED:
        target.status = source.status
    target.save(update_fields=["unread_count", "last_message_at", "last_message_preview", "status"])
    source.delete()
    return was


def _link_replies(conversation: Conversation) -> None:
    """Replies whose quoted message stood in the other conversation until now."""
    quoted = Message.objects.filter(
        instance_id=OuterRef("instance_id"),
        provider_id=OuterRef("quoted_provider_id"),
        conversation=conversation,
    )
    loose = Message.objects.filter(conversation=conversation, reply_to__isnull=True)
    loose.exclude(quoted_provider_id="").update(reply_to=Subquery(quoted.values("id")[:1]))


# --- undoing --------------------------------------------------------------------------------------


@transaction.atomic
def undo(merge_id: UUID, user: User | None = None) -> Contact:
    """Make two of one again: addresses, conversations and messages go back; what came since stays where it is.

    The two are not merged again by themselves.

    Raises:
        Conflict: it was undone already.
    """
    record = ContactMerge.objects.select_for_update(no_key=True, of=("self",)).get(pk=merge_id)
    if record.undone_at is not None:
        raise Conflict("This merge was undone already.")
    left = record.left
    contact = _revive(record)
    keys = [address["key"] for address in left["addresses"]]
    ContactJid.objects.filter(contact_id=record.contact_id, key__in=keys).update(contact=contact)
    for conversation in left["conversations"]:
        _give_back(conversation, contact, record.contact_id)
    _unname(record)
    record.undone_at, record.undone_by = timezone.now(), user
    record.save(update_fields=["undone_at", "undone_by"])
    logger.info("a merge of contacts was undone", extra={"merge": str(record.pk)})
    return contact


def _revive(record: ContactMerge) -> Contact:
    left = record.left
    contact, _ = Contact.objects.get_or_create(
        pk=UUID(left["id"]),
        defaults={
            "tenant_id": record.tenant_id,
            "kind": left["kind"],
            "name": left["name"],
            "name_at": datetime.fromisoformat(left["name_at"]) if left["name_at"] else None,
            "phone": left["phone"],
        },
    )
    return contact


def _unname(record: ContactMerge) -> None:
    """What the one that stayed had taken over from the other."""
    was, left = record.left["stayed"], record.left
    mine = Contact.objects.filter(pk=record.contact_id)
    if not was["name"]:
        mine.filter(name=left["name"]).update(name="", name_at=None)
    if not was["phone"]:
        mine.filter(phone=left["phone"]).update(phone="")


def _give_back(was: Json, contact: Contact, stayed_id: UUID) -> None:
    if was["did"] == "moved":
        Conversation.objects.filter(pk=was["id"], contact_id=stayed_id).update(contact=contact)
    if was["did"] != "poured":
        return
    target = Conversation.objects.select_for_update(no_key=True).filter(pk=was["into"]).first()
    if target is None or not Instance.objects.filter(pk=was["instance"]).exists():
        return
    source = Conversation.objects.create(
        pk=UUID(was["id"]),
        tenant_id=contact.tenant_id,
        instance_id=UUID(was["instance"]),
        contact=contact,
        remote_jid=was["remote_jid"],
        status=was["status"],
        assigned_to=User.objects.filter(pk=was["assigned_to"]).first() if was["assigned_to"] else None,
    )
    Message.objects.filter(pk__in=was["messages"], conversation=target).update(conversation=source)
    for one in (source, target):
        _count_again(one)


def _count_again(conversation: Conversation) -> None:
    """Unread messages, the latest one and its words, from the messages that are there now."""
    from apps.chat.inbound.previews import preview_again  # inbound knows contacts

    messages = Message.objects.filter(conversation=conversation)
    incoming = messages.filter(direction=Message.Direction.INCOMING, read_at__isnull=True)
    conversation.unread_count = incoming.count()
    latest = messages.order_by("-sort_at", "-id").values_list("sort_at", flat=True).first()
    conversation.last_message_at = latest or conversation.created_at
    conversation.save(update_fields=["unread_count", "last_message_at"])
    preview_again(conversation)
