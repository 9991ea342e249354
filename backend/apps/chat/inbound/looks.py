"""What the database says of all that a run of webhooks speaks of, with one query per table.

Whatever is going to be changed is locked, and never waited for: what somebody else holds in this moment is not found,
and its webhook is applied alone. So a transaction that holds many rows cannot be part of a deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Model

from apps.chat import rows
from apps.chat.delivery import cold
from apps.chat.inbound import changes, locks, reactions
from apps.chat.inbound.stretches import Acked, Echo, Name, Said, Text
from apps.chat.models import Contact, Conversation, Delivery, Evidence, Instance, Message
from apps.chat.realtime.shapes import SEND_KINDS
from apps.tenancy.models import Tenant, User

N = TypeVar("N", Message, Evidence)


@dataclass(slots=True)
class Look:
    """What was found.

    Attributes:
        free: names of new messages: nobody knows them, nothing waits for them, and they are ours until the commit.
        known: messages that are there, as far as texts, echoes and replies name them.
        acked: messages of ours that acks name, locked.
        sends: their deliveries by message.
        contacts: by tenant and canonical key, locked.
        conversations: by instance and contact, locked, with all that their JSON wants loaded.
        awaiting: conversations in which a send waits for the customer to write.
    """

    free: set[Name] = field(default_factory=set)
    known: dict[Name, Message] = field(default_factory=dict)
    acked: dict[Name, Message] = field(default_factory=dict)
    sends: dict[UUID, Delivery] = field(default_factory=dict)
    contacts: dict[tuple[UUID, str], Contact] = field(default_factory=dict)
    conversations: dict[tuple[UUID, UUID], Conversation] = field(default_factory=dict)
    awaiting: set[UUID] = field(default_factory=set)


def look(run: Sequence[Said]) -> Look:
    """Look and lock. Call it first in a transaction."""
    found = Look()
    texts = [said for said in run if isinstance(said, Text)]
    held = locks.try_hold({said.name for said in texts})
    if acks := {said.name for said in run if isinstance(said, Acked)}:
        found.acked = _named(Message, acks, "AND direction = 'outgoing'" + _locking(Message))
        found.sends = _sends(found.acked.values())
    quoted = {said.quoted for said in texts if said.quoted}
    if asked := {said.name for said in run if isinstance(said, Text | Echo)} | quoted:
        found.known = _named(Message, asked)
    if held:
        found.free = held - found.known.keys() - _awaited(held)
        found.contacts = _contacts(texts)
        found.conversations = _conversations(texts, found.contacts.values())
        found.awaiting = _awaiting(found.conversations.values())
    return found


def _named(model: type[N], names: Collection[Name], more: str = "") -> dict[Name, N]:
    instances: list[Any] = [rows.key(Instance, pk) for pk in {instance_id for instance_id, _ in names}]
    ids: list[str] = sorted({provider_id for _, provider_id in names})
    where = f"WHERE instance_id IN ({_marks(instances)}) AND provider_id IN ({_marks(ids)}) {more}"
    found = rows.select(model, f"FROM {model._meta.db_table} {where}", [*instances, *ids])
    return {(row.instance_id, row.provider_id or ""): row for row, _ in found}


def _awaited(names: Collection[Name]) -> set[Name]:
    """The messages for which a change, reactions or an ack wait."""
    waits = {(name[0], f"{prefix}{name[1]}"): name for name in names for prefix in _PARKED}
    return {waits[name] for name in _named(Evidence, waits.keys()) if name in waits}


_PARKED = ("", changes.PARKED_PREFIX, reactions.PARKED_PREFIX)


def _sends(messages: Iterable[Message]) -> dict[UUID, Delivery]:
    keys = [rows.key(Message, message.pk) for message in messages]
    if not keys:
        return {}
    where = f"WHERE message_id IN ({_marks(keys)}) AND kind IN (%s, %s) ORDER BY chat_delivery.id"
    found = rows.select(Delivery, f"FROM chat_delivery {where}", [*keys, *SEND_KINDS])
    return {delivery.message_id: delivery for delivery, _ in found if delivery.message_id}


def _contacts(texts: Sequence[Text]) -> dict[tuple[UUID, str], Contact]:
    """One instance per contact, under each of the keys that were asked for."""
    tenants = {rows.key(Tenant, said.row.instance.tenant_id) for said in texts}
    keys = {key for said in texts for key in (*said.people, *said.speaker)}
    found = rows.select(
        Contact,
        "FROM chat_contact JOIN chat_contactjid ON chat_contactjid.contact_id = chat_contact.id WHERE"
        f" chat_contactjid.tenant_id IN ({_marks(tenants)}) AND chat_contactjid.key IN ({_marks(keys)})"
        + _locking(Contact),
        [*tenants, *keys],
        also="chat_contactjid.key",
    )
    one = {contact.pk: contact for contact, _ in found}
    return {(contact.tenant_id, key): one[contact.pk] for contact, (key,) in found}


def _conversations(
    texts: Sequence[Text], contacts: Iterable[Contact]
) -> dict[tuple[UUID, UUID], Conversation]:
    people = {contact.pk: contact for contact in contacts}
    instances = {said.row.instance_id: said.row.instance for said in texts}
    if not people:
        return {}
    where = f"WHERE instance_id IN ({_marks(instances)}) AND contact_id IN ({_marks(people)})"
    found = rows.select(
        Conversation,
        f"FROM chat_conversation {where}{_locking(Conversation)}",
        [*(rows.key(Instance, pk) for pk in instances), *(rows.key(Contact, pk) for pk in people)],
    )
    conversations = [conversation for conversation, _ in found]
    team = _team(conversations)
    for conversation in conversations:
        conversation.contact = people[conversation.contact_id]
        conversation.instance = instances[conversation.instance_id]
        if conversation.assigned_to_id:
            conversation.assigned_to = team.get(conversation.assigned_to_id)
    return {(one.instance_id, one.contact_id): one for one in conversations}


def _awaiting(conversations: Iterable[Conversation]) -> set[UUID]:
    concerned = [one.pk for one in conversations if cold.matters(one.instance)]
    return cold.awaiting(concerned) if concerned else set()


def _team(conversations: Iterable[Conversation]) -> dict[Any, User]:
    taken = {one.assigned_to_id for one in conversations if one.assigned_to_id}
    return User.objects.in_bulk(taken) if taken else {}


def _locking(model: type[Model]) -> str:
    """SQLite needs nothing: its write transactions begin IMMEDIATE, one at a time."""
    if connection.vendor != "postgresql":
        return ""
    return f" FOR NO KEY UPDATE OF {model._meta.db_table} SKIP LOCKED"


def _marks(values: Collection[object]) -> str:
    return ", ".join(["%s"] * len(values))
