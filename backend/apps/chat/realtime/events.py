"""What the browsers are told: names and payloads of the events, built here and nowhere else.

An event is a JSON object `{type, …}`; `broadcast.publish` adds the tenant's `seq`. Events carry the whole
state they speak of, so that applying one twice does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.chat.models import Conversation, Delivery, Message, MessageAttachment, MessageReaction
from apps.chat.realtime.shapes import (
    attachment_json,
    conversation_json,
    message_json,
    next_attempt,
    reactions_json,
    reason_text,
    stamp,
)
from apps.chat.status import message_status

Event = dict[str, Any]

MESSAGE_RECEIVED = "message_received"
MESSAGE_STATUS_UPDATE = "message_status_update"
MESSAGE_EDITED = "message_edited"
MESSAGE_DELETED = "message_deleted"
MESSAGE_REACTION_UPDATE = "message_reaction_update"
ATTACHMENT_UPDATED = "attachment_updated"
NEW_CONVERSATION = "new_conversation"
CONVERSATION_UPDATED = "conversation_updated"
INSTANCE_STATUS_CHANGED = "instance_status_changed"
TYPING = "typing"
RESYNC_REQUIRED = "resync_required"
SUBSCRIBED = "subscribed"
ERROR = "error"
PONG = "pong"


def message_received(
    message: Message, delivery: Delivery | None = None, attachments: Iterable[MessageAttachment] = ()
) -> Event:
    """A message is new in its conversation, whoever wrote it; wants `sender` loaded."""
    return {
        "type": MESSAGE_RECEIVED,
        "conversation_id": str(message.conversation_id),
        "message": message_json(message, delivery, attachments=attachments),
    }


def message_status_update(
    *,
    message_id: UUID | str,
    conversation_id: UUID | str,
    status: str,
    reason: str = "",
    attempts: int = 0,
    next_attempt_at: datetime | None = None,
    provider_id: str | None = None,
    failure_gen: int = 0,
    sent_at: datetime | None = None,
    delivered_at: datetime | None = None,
    seen_at: datetime | None = None,
) -> Event:
    """A message's way to the customer went on; plain values, so that the engine needs no model instances.

    Times, provider id and `failure_gen` are left out when unknown, so that they erase nothing.
    """
    known: Event = {
        "provider_id": provider_id,
        "sent_at": stamp(sent_at),
        "delivered_at": stamp(delivered_at),
        "seen_at": stamp(seen_at),
        "failure_gen": failure_gen or None,
    }
    return {
        "type": MESSAGE_STATUS_UPDATE,
        "message_id": str(message_id),
        "conversation_id": str(conversation_id),
        "status": status,
        "reason": reason,
        "reason_text": reason_text(reason),
        "attempts": attempts,
        "next_attempt_at": stamp(next_attempt_at),
        **{key: value for key, value in known.items() if value is not None},
    }


def status_of_message(message: Message, delivery: Delivery | None) -> Event:
    """`message_status_update` from rows that are at hand."""
    return message_status_update(
        message_id=message.pk,
        conversation_id=message.conversation_id,
        status=message_status(message, delivery),
        reason=delivery.reason if delivery else "",
        attempts=delivery.attempts if delivery else 0,
        next_attempt_at=next_attempt(delivery),
        provider_id=message.provider_id,
        failure_gen=delivery.failure_gen if delivery else 0,
        sent_at=message.sent_at,
        delivered_at=message.delivered_at,
        seen_at=message.seen_at,
    )


def message_edited(message: Message) -> Event:
    """A message's words changed."""
    return {
        "type": MESSAGE_EDITED,
        "message_id": str(message.pk),
        "conversation_id": str(message.conversation_id),
        "content": message.content,
        "edited_at": stamp(message.edited_at),
    }


def message_deleted(message: Message) -> Event:
    """A message was deleted at WhatsApp."""
    return {
        "type": MESSAGE_DELETED,
        "message_id": str(message.pk),
        "conversation_id": str(message.conversation_id),
        "deleted_at": stamp(message.deleted_at),
    }


def message_reaction_update(message: Message, reactions: Iterable[MessageReaction]) -> Event:
    """The reactions to a message, all of them as they are now; wants `user` loaded."""
    return {
        "type": MESSAGE_REACTION_UPDATE,
        "message_id": str(message.pk),
        "conversation_id": str(message.conversation_id),
        "reactions": reactions_json(reactions),
    }


def attachment_updated(row: MessageAttachment, conversation_id: UUID | str) -> Event:
    """A file came, or will not come; the whole attachment, so that the message need not be asked for again."""
    return {
        "type": ATTACHMENT_UPDATED,
        "message_id": str(row.message_id),
        "conversation_id": str(conversation_id),
        "attachment": attachment_json(row),
    }


def new_conversation(conversation: Conversation) -> Event:
    """A conversation exists that did not before; wants contact, instance and assigned_to loaded."""
    return {"type": NEW_CONVERSATION, "conversation": conversation_json(conversation)}


def conversation_updated(conversation: Conversation) -> Event:
    """A conversation's list entry changed; wants contact, instance and assigned_to loaded."""
    return {"type": CONVERSATION_UPDATED, "conversation": conversation_json(conversation)}


def instance_status_changed(
    *,
    instance_id: UUID | str,
    name: str,
    connection: str,
    gate: str,
    reason: str = "",
) -> Event:
    """A number connected, disconnected, or its gate moved (`open`, `parked`, `frozen`)."""
    return {
        "type": INSTANCE_STATUS_CHANGED,
        "instance": {"id": str(instance_id), "name": name, "connection": connection, "gate": gate},
        "reason": reason,
        "reason_text": reason_text(reason),
    }


def typing(*, conversation_id: UUID | str, user: dict[str, Any] | None, active: bool) -> Event:
    """An agent (`user` as `shapes.person`) or, with None, the customer is typing."""
    return {"type": TYPING, "conversation_id": str(conversation_id), "user": user, "is_typing": active}
