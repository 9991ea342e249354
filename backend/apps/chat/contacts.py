"""Who somebody is: a contact is a set of JIDs, and WhatsApp alternates between them.

An address is looked up by its canonical key, so that spellings of one number are one person. When an event
names two addresses that we took for two people, they are one: the contact that holds the phone number stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Subquery

from apps.chat.evolution import jids
from apps.chat.models import Contact, ContactJid, Conversation, Delivery, Evidence, Instance, Message

logger = logging.getLogger(__name__)

_JID_LENGTH = 128
_RACES = 5


class NoAddress(ValueError):
    """None of the addresses can name anybody."""


def find_or_create(tenant_id: UUID, addresses: Iterable[str], *, name: str = "") -> Contact:
    """The contact these addresses belong to, knowing all of them afterwards. Call inside a transaction.

    Args:
        addresses: JIDs (or bare digits) of one person or one group.
        name: set on a contact that has none; a name that is known stays.

    Raises:
        NoAddress: nothing usable among the addresses.
    """
    wanted = _by_key(addresses)
    if not wanted:
        raise NoAddress("no usable address")
    for _ in range(_RACES):
        found = _known(tenant_id, wanted)
        contact = _one_of(tenant_id, found) if found else _create(tenant_id, wanted, name)
        if contact is None or not _add(contact, wanted.keys() - found.keys(), wanted):
            continue  # somebody else wrote one of these keys just now: look again
        _complete(contact, wanted, name)
        return contact
    raise IntegrityError("the addresses of a contact keep changing")


def known_conversations(instance: Instance, addresses: Iterable[str]) -> list[UUID]:
    """Ids of this instance's conversations with whoever holds one of the addresses."""
    keys = list(_by_key(addresses))
    found = Conversation.objects.filter(
        instance=instance, contact__jids__tenant_id=instance.tenant_id, contact__jids__key__in=keys
    )
    return list(found.order_by("id").values_list("id", flat=True).distinct())


def conversation_with(
    instance: Instance, contact: Contact, address: str, at: datetime
) -> tuple[Conversation, bool]:
    """The contact's conversation on this instance, locked until the transaction ends, and whether it is new.

    A conversation that WhatsApp begins is pending: nobody of the team has taken it yet.

    Args:
        address: where sends go; a phone number that is learned later replaces a LID.
        at: the time of the message that begins it.
    """
    locked = Conversation.objects.select_for_update(no_key=True)
    found = locked.filter(instance=instance, contact=contact).first()
    if found is None:
        try:
            with transaction.atomic():
                return _begin(instance, contact, address, at), True
        except IntegrityError:
            found = locked.get(instance=instance, contact=contact)
    if jids.is_lid(found.remote_jid) and jids.is_phone(address):
        found.remote_jid = as_jid(address)
        found.save(update_fields=["remote_jid"])
    return found, False


def as_jid(address: str) -> str:
    """The address as a full JID: the EVOLUTION channel names people by bare digits."""
    return jids.canonical_key(address) if "@" not in address else address


def preferred(addresses: Sequence[str]) -> str:
    """Where to send among one person's addresses: the phone number when it is known."""
    return as_jid(next((address for address in addresses if jids.is_phone(address)), addresses[0]))


def _begin(instance: Instance, contact: Contact, address: str, at: datetime) -> Conversation:
    return Conversation.objects.create(
        tenant_id=instance.tenant_id,
        instance=instance,
        contact=contact,
        remote_jid=as_jid(address),
        status=Conversation.Status.PENDING,
        last_message_at=at,
    )


def _by_key(addresses: Iterable[str]) -> dict[str, str]:
    """Canonical key -> JID, in the order of the keys: two transactions that insert them cannot deadlock."""
    pairs = {jids.canonical_key(address): as_jid(address) for address in addresses}
    usable = {key: jid for key, jid in pairs.items() if key and max(len(key), len(jid)) <= _JID_LENGTH}
    return dict(sorted(usable.items()))


def _known(tenant_id: UUID, wanted: Mapping[str, str]) -> dict[str, ContactJid]:
    rows = ContactJid.objects.select_related("contact").filter(tenant_id=tenant_id, key__in=list(wanted))
    return {row.key: row for row in rows}


def _one_of(tenant_id: UUID, found: Mapping[str, ContactJid]) -> Contact:
    """The contact all of them mean: one with a phone number, else the oldest; the others are merged into it."""
    ranked = sorted(found.values(), key=lambda row: (not jids.is_phone(row.key), row.contact_id))
    stays = ranked[0].contact
    for other in {row.contact_id: row.contact for row in ranked if row.contact_id != stays.id}.values():
        merge(other, stays)
    return stays


def _create(tenant_id: UUID, wanted: Mapping[str, str], name: str) -> Contact | None:
    """A new contact with these addresses, or None when one of them was taken meanwhile."""
    kind = _kind(next(iter(wanted)))
    try:
        with transaction.atomic():
            contact = Contact.objects.create(tenant_id=tenant_id, kind=kind, name=_fit_name(kind, name))
            for key, jid in wanted.items():
                ContactJid.objects.create(tenant_id=tenant_id, contact=contact, key=key, jid=jid)
    except IntegrityError:
        return None
    return contact


def _add(contact: Contact, missing: Iterable[str], wanted: Mapping[str, str]) -> bool:
    """Teach the contact new addresses; false when somebody else holds one of them meanwhile."""
    for key in sorted(missing):
        row, _ = ContactJid.objects.get_or_create(
            tenant_id=contact.tenant_id, key=key, defaults={"contact": contact, "jid": wanted[key]}
        )
        if row.contact_id != contact.id:
            return False
    return True


def _complete(contact: Contact, wanted: Mapping[str, str], name: str) -> None:
    """Fill in the name and the number where they are unknown."""
    changed = []
    if not contact.name and (fitting := _fit_name(contact.kind, name)):
        contact.name = fitting
        changed.append("name")
    phone = next((_digits(jid) for key, jid in wanted.items() if jids.is_phone(key)), "")
    if not contact.phone and phone and len(phone) <= 32:
        contact.phone = phone
        changed.append("phone")
    if changed:
        contact.save(update_fields=changed)


def _digits(jid: str) -> str:
    """The number as WhatsApp spells it, without the device it was used on."""
    return jid.partition("@")[0].partition(":")[0]


def _kind(key: str) -> Contact.Kind:
    if jids.is_group(key):
        return Contact.Kind.GROUP
    return Contact.Kind.BROADCAST if key.endswith("@broadcast") else Contact.Kind.INDIVIDUAL


def _fit_name(kind: str, name: str) -> str:
    """A group's name is its subject, which no message carries: the push name is the speaker's."""
    return name[:200] if kind == Contact.Kind.INDIVIDUAL else ""


# --- merging --------------------------------------------------------------------------------------


def merge(leaves: Contact, stays: Contact) -> None:
    """Make one person of two. Call inside a transaction.

    Addresses move at once, so that whatever comes next finds one conversation. A conversation of the one that
    leaves moves too, unless both have one on the same instance and something was ever sent in it: deliveries
    keep their lane, so that conversation stays where it is, as history. The journal holds every message's own
    address, from which a wrong merge can be told.
    """
    for conversation in _locked_conversations(leaves, stays):
        _move(conversation, stays)
    ContactJid.objects.filter(contact=leaves).update(contact=stays)
    _complete(stays, {}, leaves.name)
    logger.info("contacts merged", extra={"contact": str(stays.id), "was": str(leaves.id)})
    if not Conversation.objects.filter(contact=leaves).exists():
        leaves.delete()


def _locked_conversations(leaves: Contact, stays: Contact) -> list[Conversation]:
    """Lock both people's conversations in the order of their ids; answer those of the one that leaves."""
    both = (
        Conversation.objects.select_for_update(no_key=True).filter(contact__in=[leaves, stays]).order_by("id")
    )
    return [conversation for conversation in both if conversation.contact_id == leaves.id]


def _move(conversation: Conversation, stays: Contact) -> None:
    target = Conversation.objects.filter(instance_id=conversation.instance_id, contact=stays).first()
    if target is None:
        Conversation.objects.filter(pk=conversation.pk).update(contact=stays)
    elif not Delivery.objects.filter(message__conversation=conversation).exists():
        _pour(conversation, target)


def _pour(source: Conversation, target: Conversation) -> None:
    """Move what was said into `target` and remove the emptied conversation."""
    Message.objects.filter(conversation=source).update(conversation=target)
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


def _link_replies(conversation: Conversation) -> None:
    """Replies whose quoted message stood in the other conversation until now."""
    quoted = Message.objects.filter(
        instance_id=OuterRef("instance_id"),
        provider_id=OuterRef("quoted_provider_id"),
        conversation=conversation,
    )
    loose = Message.objects.filter(conversation=conversation, reply_to__isnull=True)
    loose.exclude(quoted_provider_id="").update(reply_to=Subquery(quoted.values("id")[:1]))
