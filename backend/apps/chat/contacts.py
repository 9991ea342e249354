"""Who somebody is: a contact is a set of JIDs, and WhatsApp alternates between them.

An address is looked up by its canonical key, so that spellings of one number are one person. When an event
names two addresses that we took for two people, they are one: the contact that holds the phone number stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.chat import contact_merges
from apps.chat.evolution import jids
from apps.chat.models import Contact, ContactJid, Conversation, Instance

_JID_LENGTH = 128
_RACES = 5


class NoAddress(ValueError):
    """None of the addresses can name anybody."""


def find_or_create(
    tenant_id: UUID, addresses: Sequence[str], *, name: str = "", at: datetime | None = None
) -> Contact:
    """The contact these addresses belong to, knowing all of them afterwards. Call inside a transaction.

    Args:
        addresses: JIDs (or bare digits) of one person or one group, the one that is meant first.
        name: what the person is called; empty says nothing.
        at: when WhatsApp told the name. The latest name stays, whatever came first; without a time, only a contact
            without a name takes it.

    Raises:
        NoAddress: nothing usable among the addresses.
    """
    wanted = by_key(addresses)
    if not wanted:
        raise NoAddress("no usable address")
    for _ in range(_RACES):
        found = _known(tenant_id, wanted)
        if not found:
            contact = _create(tenant_id, wanted, name, at)
        else:
            contact = contact_merges.one_of(tenant_id, found, jids.canonical_key(addresses[0]))
        if contact is None or not _add(contact, wanted.keys() - found.keys(), wanted):
            continue  # somebody else wrote one of these keys just now: look again
        complete(contact, wanted, name, at)
        return contact
    raise IntegrityError("the addresses of a contact keep changing")


def known_conversations(instance: Instance, addresses: Iterable[str]) -> list[UUID]:
    """Ids of this instance's conversations with whoever holds one of the addresses."""
    keys = list(by_key(addresses))
    found = Conversation.objects.filter(
        instance=instance, contact__jids__tenant_id=instance.tenant_id, contact__jids__key__in=keys
    )
    return list(found.order_by("id").values_list("id", flat=True).distinct())


def conversation_with(
    instance: Instance, contact: Contact, address: str, at: datetime, *, put_away: bool = False
) -> tuple[Conversation, bool]:
    """The contact's conversation on this instance, locked until the transaction ends, and whether it is new.

    A conversation that WhatsApp begins is pending: nobody of the team has taken it yet.

    Args:
        address: where sends go; a phone number that is learned later replaces a LID.
        at: the time of the message that begins it.
        put_away: a new one is closed: it begins with old messages that nobody waits for.
    """
    locked = Conversation.objects.select_for_update(no_key=True)
    found = locked.filter(instance=instance, contact=contact).first()
    if found is None:
        try:
            with transaction.atomic():
                return _begin(instance, contact, address, at, put_away=put_away), True
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


def _begin(
    instance: Instance, contact: Contact, address: str, at: datetime, *, put_away: bool
) -> Conversation:
    return Conversation.objects.create(
        tenant_id=instance.tenant_id,
        instance=instance,
        contact=contact,
        remote_jid=as_jid(address),
        status=Conversation.Status.CLOSED if put_away else Conversation.Status.PENDING,
        last_message_at=at,
    )


def by_key(addresses: Iterable[str]) -> dict[str, str]:
    """Canonical key -> JID of what can name somebody.

    In the order of the keys: two transactions that insert them cannot deadlock.
    """
    pairs = {jids.canonical_key(address): as_jid(address) for address in addresses}
    usable = {key: jid for key, jid in pairs.items() if key and max(len(key), len(jid)) <= _JID_LENGTH}
    return dict(sorted(usable.items()))


def _known(tenant_id: UUID, wanted: Mapping[str, str]) -> dict[str, ContactJid]:
    rows = ContactJid.objects.select_related("contact").filter(tenant_id=tenant_id, key__in=list(wanted))
    return {row.key: row for row in rows}


def _create(tenant_id: UUID, wanted: Mapping[str, str], name: str, at: datetime | None) -> Contact | None:
    """A new contact with these addresses, or None when one of them was taken meanwhile."""
    kind = _kind(next(iter(wanted)))
    try:
        with transaction.atomic():
            fitting = _fit_name(kind, name)
            contact = Contact.objects.create(
                tenant_id=tenant_id, kind=kind, name=fitting, name_at=at if fitting else None
            )
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


def complete(contact: Contact, wanted: Mapping[str, str], name: str, at: datetime | None) -> None:
    """Fill in the number where it is unknown, and take a name that is later than the one we have."""
    if changed := completed(contact, wanted, name, at):
        contact.save(update_fields=changed)


def completed(contact: Contact, wanted: Mapping[str, str], name: str, at: datetime | None) -> list[str]:
    """`complete` in memory; answers the fields that changed, not yet saved."""
    changed = call(contact, _fit_name(contact.kind, name), at)
    phone = next((_digits(jid) for key, jid in wanted.items() if jids.is_phone(key)), "")
    if not contact.phone and phone and len(phone) <= 32:
        contact.phone = phone
        changed.append("phone")
    return changed


def call(contact: Contact, name: str, at: datetime | None) -> list[str]:
    """Name the contact, unless a later name is known; answers the fields that changed, not yet saved.

    Of two names told at one time the greater stays, so that the order of telling does not matter.
    """
    if not name or (at is None and contact.name):
        return []
    if contact.name_at and at and (at, name) <= (contact.name_at, contact.name):
        return []
    contact.name, contact.name_at = name, at
    return ["name", "name_at"]


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
