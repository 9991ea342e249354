"""Putting a delivery at the end of its lane."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from apps.chat.delivery.sql import statements
from apps.chat.models import Conversation, Delivery, Message
from apps.chat.rows import insert


def next_seq(conversation_id: UUID, **touch: Any) -> int:
    """The lane's next number, taken under the conversation's row lock so that it follows commit order.

    Must run inside a transaction: the lock is what keeps two writers from committing in the other order.

    Args:
        touch: further fields of the conversation to set in the same statement.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("next_seq needs a transaction: its lock orders the lane")
    fields = [field for field in Conversation._meta.concrete_fields if field.name in touch]
    also = "".join(f", {field.column} = %s" for field in fields)
    values = [field.get_db_prep_save(touch[field.name], connection) for field in fields]
    key = Conversation._meta.pk.get_db_prep_value(conversation_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE chat_conversation SET next_seq = next_seq + 1{also} WHERE id = %s RETURNING next_seq",  # noqa: S608
            [*values, key],
        )
        row = cursor.fetchone()
    if row is None:
        raise Conversation.DoesNotExist(f"no conversation {conversation_id}")
    return int(row[0])


def enqueue_delivery(
    message: Message,
    *,
    kind: Delivery.Kind = Delivery.Kind.TEXT,
    fingerprint: str,
    payload: dict[str, Any] | None = None,
    seq: int | None = None,
) -> Delivery:
    """A queued row at the end of the message's lane. Call inside a transaction, wake the lane after it commits.

    Args:
        message: what is to be said, or what an edit, delete or reaction is about.
        fingerprint: `evolution.fingerprint` of what will be said.
        payload: what an edit or a reaction says.
        seq: from `next_seq`, when the caller has taken it already.
    """
    delivery = Delivery(
        tenant_id=message.tenant_id,
        conversation_id=message.conversation_id,
        instance_id=message.instance_id,
        message=message,
        seq=next_seq(message.conversation_id) if seq is None else seq,
        kind=kind,
        fingerprint=fingerprint,
        payload=payload,
    )
    insert(delivery, sweep_at=(statements(connection.vendor).later, settings.CHAT_SWEEP_AFTER_SECONDS))
    return delivery
