"""Many webhooks in one transaction: customers' words in known chats, acks of our messages, echoes that tell nothing.

That is nearly all there is in a flood, and a dozen statements do for a run of them. Everything that is not plain (a new
contact, something parked, a file, a conversation that somebody else holds now) is left to `inbound.apply`, alone and
after the run; so is the whole run when anything of it fails. What is done to the rows is the same either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.chat import contacts, rows
from apps.chat.delivery import acks, gate
from apps.chat.enrichment import asking
from apps.chat.evolution import jids
from apps.chat.inbound import looks, messages, times
from apps.chat.inbound.stretches import Acked, Echo, Said, Text
from apps.chat.models import Ack, Contact, Conversation, Message
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.tenancy.ids import uuid7

FEWEST = 2
"""Fewer are no cheaper together than alone."""


def apply(run: Sequence[Said]) -> dict[int, str]:
    """Apply what is plain of a run without cuts.

    Returns:
        the notes of what was applied, by journal id. The others of the run must be applied alone now, in their order.
    """
    if sum(isinstance(said, Text | Acked | Echo) for said in run) < FEWEST:
        return {}
    with transaction.atomic():
        work = _Work(looks.look(run), len(run))
        for said in run:
            work.take(said)
        work.write()
    return work.notes


class _Work:
    """The run's changes, made in memory one webhook after the other, then written together."""

    def __init__(self, look: looks.Look, count: int) -> None:
        self.notes: dict[int, str] = {}
        self._look = look
        # Messages of one second stand in the thread by their ids, and ids of one millisecond have no order.
        self._ids = iter(sorted(uuid7() for _ in range(count)))
        self._waiting: set[object] = set()
        self._new: list[Message] = []
        self._tied: list[Message] = []
        self._contacts: dict[UUID, Contact] = {}
        self._conversations: dict[UUID, Conversation] = {}
        self._acked: dict[UUID, Message] = {}
        self._told: list[tuple[UUID, dict[str, Any]]] = []

    def take(self, said: Said) -> None:
        """Do what it says, unless it must wait for an earlier one of its chat or message that is applied alone."""
        touched = {*said.names, *(self._whose(said, key) for key in said.people)}
        note = None if touched & self._waiting else self._note(said)
        if note is None:
            self._waiting |= touched
        else:
            self.notes[said.row.pk] = note

    def _whose(self, said: Said, key: str) -> object:
        contact = self._look.contacts.get((said.row.instance.tenant_id, key))
        return contact.pk if contact else key

    def _note(self, said: Said) -> str | None:
        if isinstance(said, Text):
            return self._text(said)
        if isinstance(said, Acked):
            return self._ack(said)
        return self._echo(said) if isinstance(said, Echo) else None

    # --- customers' words -------------------------------------------------------------------------

    def _text(self, said: Text) -> str | None:
        contact, conversation = self._chat(said)
        speaker = self._one(said, said.speaker) if said.speaker else None
        if contact is None or conversation is None or said.name not in self._look.free:
            return None
        if (said.speaker and speaker is None) or conversation.pk in self._look.awaiting:
            return None
        message = messages.new(said.row, said.event, Message.Origin.CUSTOMER)
        if message.sort_at < conversation.last_message_at:
            return None  # the list shows another message, which must be looked up
        self._call(said, contact, said.people)
        if speaker is not None:
            self._call(said, speaker, said.speaker)
        self._store(said, message, conversation)
        gate.heard(said.row.instance)
        return messages.RECEIVED

    def _chat(self, said: Text) -> tuple[Contact | None, Conversation | None]:
        contact = self._one(said, said.people)
        if contact is None:
            return None, None
        conversation = self._look.conversations.get((said.row.instance_id, contact.pk))
        address = contacts.preferred(messages.addresses(said.event))
        if conversation is not None and jids.is_lid(conversation.remote_jid) and jids.is_phone(address):
            return None, None
        return contact, conversation

    def _one(self, said: Text, keys: Iterable[str]) -> Contact | None:
        """Whom all of these keys mean; None when one is unknown or somebody else's."""
        found = {self._look.contacts.get((said.row.instance.tenant_id, key)) for key in keys}
        return found.pop() if len(found) == 1 else None

    def _call(self, said: Text, contact: Contact, people: Any) -> None:
        at = times.sent_time(said.event.timestamp, said.row.received_at)
        if contacts.completed(contact, people, messages.name_of(said.event), at):
            self._contacts[contact.pk] = contact

    def _store(self, said: Text, message: Message, conversation: Conversation) -> None:
        message.id = next(self._ids)
        message.conversation = conversation
        quoted = self._look.known.get(said.quoted) if said.quoted and message.quoted_provider_id else None
        if quoted is not None and quoted.conversation_id == conversation.pk:
            message.reply_to = quoted
        if message.sort_at == conversation.last_message_at:
            self._tied.append(message)
        messages.count_and_lead(conversation, message)
        self._look.free.discard(said.name)
        self._look.known[said.name] = message
        self._new.append(message)
        self._conversations[conversation.pk] = conversation
        told = (events.conversation_updated(conversation), events.message_received(message))
        self._told += [(message.tenant_id, event) for event in told]

    # --- our own ----------------------------------------------------------------------------------

    def _ack(self, said: Acked) -> str | None:
        message = self._look.acked.get(said.name)
        if message is None:
            return None
        if said.rank >= Ack.SENT:
            gate.heard(said.row.instance)
        if acks.rise(message, said.rank, said.row.received_at):
            self._acked[message.pk] = message
            update = events.status_of_message(message, self._look.sends.get(message.pk))
            self._told.append((message.tenant_id, update))
        return "ack"

    def _echo(self, said: Echo) -> str | None:
        known = self._look.acked.get(said.name) or self._look.known.get(said.name)
        return messages.ECHO if known and messages.tells_nothing(said.event, known) else None

    # --- all of it --------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the changes; what they mean for browsers and for who is asked follows the commit."""
        if self._contacts:
            rows.update_all(list(self._contacts.values()), ("name", "name_at", "phone"))
        if self._new:
            rows.update_all(list(self._conversations.values()), messages.SHOWN)
            rows.insert_all(self._new)
        if self._tied:
            self._attach_replies()
        if self._acked:
            rows.update_all(list(self._acked.values()), ("ack", "sent_at", "delivered_at", "seen_at"))
        transaction.on_commit(self._tell, robust=True)
        for conversation in self._conversations.values():
            asking.when_stale(conversation)

    def _attach_replies(self) -> None:
        """Replies that stand in the same second, stored before what they answer."""
        replies = Message.objects.filter(
            conversation_id__in={message.conversation_id for message in self._tied},
            sort_at__gte=min(message.sort_at for message in self._tied),
            quoted_provider_id__in=[message.provider_id for message in self._tied],
            reply_to__isnull=True,
        )
        answered = set(replies.values_list("quoted_provider_id", flat=True))
        for message in self._tied:
            if message.provider_id in answered:
                messages.attach_replies(message)

    def _tell(self) -> None:
        for tenant_id, event in self._told:
            publish(tenant_id, event)
