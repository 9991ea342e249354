"""What happens around a conversation: calls, and people who come to a group or leave it. Shown as notes in the thread.

A note is a message that nobody wrote. Its id is made from what the webhook says, so that a repeated one is the same
note. Nothing is sent back for it: no receipt, no answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db import transaction

from apps.chat import contacts
from apps.chat.evolution import jids
from apps.chat.evolution.other_events import CallEvent, ParticipantsEvent, Person
from apps.chat.inbound import locks, previews
from apps.chat.models import Conversation, Message, WebhookEvent
from apps.chat.models.messages import CALL, NOTE
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

_ANSWERED: Final = frozenset({"accept", "accepted"})
_DECLINED: Final = frozenset({"reject", "rejected", "decline"})
_OVER: Final = frozenset({"timeout", "terminate", "terminated"})
_MOMENTS: Final = frozenset({"offer", "ringing"}) | _ANSWERED | _DECLINED | _OVER
_ACTIONS: Final = frozenset({"add", "remove", "promote", "demote", "modify"})
MISSED: Final = "missed"


def called(row: WebhookEvent, event: CallEvent) -> str:
    """Show a call: ringing, answered, declined or missed, whichever of its moments came first.

    A missed one is unread until somebody has seen it.
    """
    if event.status not in _MOMENTS:
        return "ignored: unknown moment of a call"
    if jids.is_status_broadcast(event.chat) or not jids.is_sendable(contacts.as_jid(event.chat)):
        return "ignored: malformed: a call from nowhere"
    with transaction.atomic():
        return _call(row, event)


def _call(row: WebhookEvent, event: CallEvent) -> str:
    provider_id = f"call:{event.call_id}"
    locks.hold(row.instance_id, provider_id)
    theirs = [event.chat] if jids.is_group(event.chat) else list(dict.fromkeys([event.caller, event.chat]))
    at = min(event.at or row.received_at, row.received_at)
    contact = contacts.find_or_create(row.instance.tenant_id, theirs)
    conversation, is_new = contacts.conversation_with(row.instance, contact, contacts.preferred(theirs), at)
    conversation.contact, conversation.instance = contact, row.instance
    known = Message.objects.filter(instance_id=row.instance_id, provider_id=provider_id).first()
    message = known or _note(row, conversation, CALL, provider_id, at)
    message.author_jid = event.caller[:128] if jids.is_group(event.chat) else ""
    was_unread = known is not None and message.read_at is None
    seen = sorted({*_moments(message), event.status})
    message.details = {"call": {"moments": seen, "outcome": _outcome_of(seen), "video": event.video}}
    message.sort_at = min(at, message.sort_at)
    _set_read(message, is_new=known is None)
    conversation.unread_count = max(0, conversation.unread_count + (message.read_at is None) - was_unread)
    message.save()
    _show(conversation, message, is_new=is_new)
    return f"call {_outcome(message)}"


def _moments(message: Message) -> Sequence[str]:
    return list(((message.details or {}).get("call") or {}).get("moments") or [])


def _outcome(message: Message) -> str:
    return str(((message.details or {}).get("call") or {}).get("outcome") or "")


def _outcome_of(moments: Sequence[str]) -> str:
    for outcome, words in (("answered", _ANSWERED), ("declined", _DECLINED), (MISSED, _OVER)):
        if words.intersection(moments):
            return outcome
    return "ringing"


def _set_read(message: Message, *, is_new: bool) -> None:
    """Only a missed call waits to be seen. What was not for a person to see is read since it came."""
    if _outcome(message) != MISSED:
        message.read_at = message.read_at or message.created_at
    elif is_new or message.read_at == message.created_at:
        message.read_at = None


def participants_changed(row: WebhookEvent, event: ParticipantsEvent) -> str:
    """Learn who is who, and note the change in the group's conversation when there is one."""
    if event.action not in _ACTIONS:
        return "ignored: unknown change of a group"
    with transaction.atomic():
        for person in (event.author, *event.participants):
            if len(person.addresses) > 1:
                contacts.find_or_create(
                    row.instance.tenant_id, person.addresses, name=person.name, at=row.received_at
                )
        return _group_note(row, event)


def _group_note(row: WebhookEvent, event: ParticipantsEvent) -> str:
    if event.action == "modify":  # a number changed: who is who is all there is to it
        return "participants"
    known = contacts.known_conversations(row.instance, [event.group])
    if not known:
        return "participants"
    provider_id = f"note:{_digest(row)}"
    locks.hold(row.instance_id, provider_id)
    conversation = (
        Conversation.objects.select_for_update(no_key=True, of=("self",))
        .select_related("contact", "assigned_to")
        .get(pk=known[0])
    )
    conversation.instance = row.instance
    if Message.objects.filter(instance_id=row.instance_id, provider_id=provider_id).exists():
        return "known note"
    message = _note(row, conversation, NOTE, provider_id, row.received_at)
    message.read_at = row.received_at
    people = [_about(person) for person in event.participants]
    message.details = {"note": {"action": event.action, "people": people, "by": _about(event.author)}}
    message.save()
    _show(conversation, message, is_new=False)
    return "note"


def _about(person: Person) -> dict[str, str]:
    phone = next((one for one in person.addresses if jids.is_phone(one)), "")
    return {"name": person.name, "phone": phone.partition("@")[0].partition(":")[0]}


def _digest(row: WebhookEvent) -> str:
    """The event names no id and no time; Evolution's retries of one webhook are byte for byte the same."""
    said = json.dumps([row.body.get("data"), row.body.get("date_time")], sort_keys=True)
    return hashlib.blake2b(said.encode(errors="replace"), digest_size=16).hexdigest()


def _note(
    row: WebhookEvent, conversation: Conversation, kind: str, provider_id: str, at: datetime
) -> Message:
    return Message(
        tenant_id=row.instance.tenant_id,
        instance_id=row.instance_id,
        conversation=conversation,
        direction=Message.Direction.INCOMING,
        origin=Message.Origin.CUSTOMER,
        kind=kind,
        content=f"[{kind}]",
        provider_id=provider_id,
        sort_at=at,
        created_at=row.received_at,
    )


def _show(conversation: Conversation, message: Message, *, is_new: bool) -> None:
    """A call stands at the top of the list like a message; a note about a group moves nothing."""
    fields = ["unread_count"]
    if message.kind == CALL:
        latest = Message.objects.filter(conversation=conversation).exclude(kind=NOTE)
        conversation.last_message_at = latest.order_by("-sort_at").values_list("sort_at", flat=True)[0]
        fields.append("last_message_at")
    if _outcome(message) == MISSED and conversation.status == Conversation.Status.CLOSED:
        taken = conversation.assigned_to_id is not None
        conversation.status = Conversation.Status.OPEN if taken else Conversation.Status.PENDING
        fields.append("status")
    conversation.save(update_fields=fields)
    previews.preview_again(conversation)
    entry = events.new_conversation if is_new else events.conversation_updated
    told: list[dict[str, Any]] = [entry(conversation), events.message_received(message)]
    for event in told:
        transaction.on_commit(partial(publish, message.tenant_id, event), robust=True)
