"""How a message and a conversation look to the world: the same JSON in REST and in WebSocket events.

Plain functions over loaded rows: they run no query, so the caller decides what is fetched. A message shows
the delivery that carries its own words (`SEND_KINDS`), never that of an edit or a reaction to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from apps.chat import media_links as links
from apps.chat.models import Contact, Conversation, Delivery, Message, MessageAttachment, MessageReaction
from apps.chat.reasons import in_words
from apps.chat.status import message_status
from apps.tenancy.models import User

Json = dict[str, Any]

SEND_KINDS = (Delivery.Kind.TEXT, Delivery.Kind.MEDIA)
_WAITING = (Delivery.State.QUEUED, Delivery.State.VERIFYING)


def stamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, microseconds included, as every time in the API."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def reason_text(reason: str) -> Json | None:
    """The reason in words, per language; None when there is no reason or no words for it."""
    return in_words(reason)


def person(user: User | None) -> Json | None:
    """Who a user is to their colleagues."""
    return {"id": str(user.pk), "name": user.get_full_name() or user.email} if user else None


def message_json(
    message: Message,
    delivery: Delivery | None,
    *,
    held_by: str | None = None,
    position: int | None = None,
    leaves_in_seconds: int | None = None,
    gate_reason: str = "",
    reactions: Iterable[MessageReaction] = (),
    attachments: Iterable[MessageAttachment] = (),
) -> Json:
    """A message as callers see it.

    Args:
        message: with `sender` loaded.
        delivery: its own send, None for what we did not send.
        held_by: id of the message at the head of the lane, which this one waits for.
        position: how many deliveries of the lane leave before this one.
        leaves_in_seconds: about when it leaves, None when nobody can tell.
        gate_reason: why nothing leaves through the instance at present, when that is so.
        reactions: with `user` loaded.
        attachments: its files, in their order.
    """
    waiting = delivery is not None and delivery.state == Delivery.State.QUEUED
    reason = (gate_reason if waiting and gate_reason else delivery.reason) if delivery else ""
    return {
        "id": str(message.pk),
        "conversation": str(message.conversation_id),
        "direction": message.direction,
        "origin": message.origin,
        "kind": message.kind,
        "content": message.content,
        "details": message.details,
        "status": message_status(message, delivery),
        "reason": reason,
        "reason_text": reason_text(reason),
        "attempts": delivery.attempts if delivery else 0,
        "next_attempt_at": stamp(next_attempt(delivery)),
        "failure_gen": delivery.failure_gen if delivery else 0,
        "held_by": held_by,
        "position": position,
        "leaves_in_seconds": leaves_in_seconds,
        "provider_id": message.provider_id,
        "client_message_id": message.client_message_id,
        "reply_to": str(message.reply_to_id) if message.reply_to_id else None,
        "sender": person(message.sender),
        "author_name": message.author_name,
        "reactions": reactions_json(reactions),
        "attachments": [attachment_json(row) for row in attachments],
        **_times(message),
    }


def reactions_json(reactions: Iterable[MessageReaction]) -> list[Json]:
    """Who put which emoji on a message, oldest first; those that were taken back are left out."""
    given = sorted((row for row in reactions if row.emoji), key=lambda row: (row.reacted_at, row.author))
    return [
        {
            "emoji": row.emoji,
            "from_me": not row.author,
            "author": row.author,
            "user": person(row.user),
            "reacted_at": stamp(row.reacted_at),
        }
        for row in given
    ]


def _times(message: Message) -> Json:
    return {
        "created_at": stamp(message.created_at),
        "sort_at": stamp(message.sort_at),
        "sent_at": stamp(message.sent_at),
        "delivered_at": stamp(message.delivered_at),
        "seen_at": stamp(message.seen_at),
        "edited_at": stamp(message.edited_at),
        "deleted_at": stamp(message.deleted_at),
    }


def next_attempt(delivery: Delivery | None) -> datetime | None:
    """When it is tried or looked at again; a first try has no date, it is due at once.

    A row that was just written holds a database expression instead of a time, and was never tried.
    """
    if delivery is None or delivery.state not in _WAITING or not (delivery.attempts or delivery.reason):
        return None
    return delivery.wake_at


def attachment_json(row: MessageAttachment) -> Json:
    """A file as callers see it; `url` and `thumbnail_url` are signed and end after a while, null until it is there."""
    done = row.status == MessageAttachment.Status.COMPLETED
    return {
        "id": str(row.pk),
        "message": str(row.message_id) if row.message_id else None,
        "kind": row.kind,
        "status": row.status,
        "reason": row.reason,
        "reason_text": reason_text(row.reason),
        "mime_type": row.mime_type,
        "file_name": row.file_name,
        "size": row.size,
        "width": row.width,
        "height": row.height,
        "duration_ms": row.duration_ms,
        "waveform": row.waveform,
        "url": links.link(row.pk, row.tenant_id, links.CONTENT) if done else None,
        "thumbnail_url": links.link(row.pk, row.tenant_id, links.THUMBNAIL)
        if done and row.thumbnail
        else None,
        "preview": f"data:image/jpeg;base64,{row.preview}" if row.preview and not row.thumbnail else None,
    }


def contact_json(contact: Contact) -> Json:
    """A contact as callers see it; `description` and `members` are a group's."""
    version = contact.picture_sha256[:12]
    return {
        "id": str(contact.pk),
        "name": contact.name,
        "phone": contact.phone,
        "picture_url": f"/api/chat/contacts/{contact.pk}/picture/?v={version}" if contact.picture else None,
        "description": contact.description,
        "members": contact.members,
    }


def conversation_json(conversation: Conversation) -> Json:
    """A conversation as callers see it; wants `contact`, `instance` and `assigned_to` loaded."""
    contact, instance = conversation.contact, conversation.instance
    assigned = conversation.assigned_to
    return {
        "id": str(conversation.pk),
        "tenant": str(conversation.tenant_id),
        "contact": contact_json(contact),
        "conversation_type": contact.kind,
        "instance": {"id": str(instance.pk), "name": instance.name, "connection": instance.connection},
        "status": conversation.status,
        "assigned_to": str(conversation.assigned_to_id) if conversation.assigned_to_id else None,
        "assigned_to_name": assigned.get_full_name() or assigned.email if assigned else None,
        "unread_count": conversation.unread_count,
        "last_message_at": stamp(conversation.last_message_at),
        "last_message_preview": conversation.last_message_preview,
        "created_at": stamp(conversation.created_at),
    }
