"""Putting a delivery at the end of its lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from apps.chat.delivery import pipeline
from apps.chat.delivery.sql import statements
from apps.chat.models import Conversation, Delivery, Message
from apps.chat.rows import insert, inserted, insertion_from

_TOLD = "RETURNING id, seq, (SELECT now FROM lane)"


def next_seq(conversation_id: UUID, **touch: Any) -> int:
    """The lane's next number, taken under the conversation's row lock so that it follows commit order.

    Must run inside a transaction: the lock is what keeps two writers from committing in the other order.

    Args:
        touch: further fields of the conversation to set in the same statement.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("next_seq needs a transaction: its lock orders the lane")
    sql, values = _touching(conversation_id, touch)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    if row is None:
        raise Conversation.DoesNotExist(f"no conversation {conversation_id}")
    return int(row[0])


def _touching(conversation_id: UUID, touch: Mapping[str, Any]) -> tuple[str, list[Any]]:
    fields = [field for field in Conversation._meta.concrete_fields if field.name in touch]
    also = "".join(f", {field.column} = %s" for field in fields)
    values = [field.get_db_prep_save(touch[field.name], connection) for field in fields]
    key = Conversation._meta.pk.get_db_prep_value(conversation_id, connection)
    sql = f"UPDATE chat_conversation SET next_seq = next_seq + 1{also} WHERE id = %s RETURNING next_seq"  # noqa: S608
    return sql, [*values, key]


def enqueue_message(message: Message, *, fingerprint: str, **touch: Any) -> Delivery:
    """Store a new text with its delivery at the end of its lane, all or nothing. Wake the lane after it commits.

    Its `sort_at` and `created_at` are set here, under the conversation's lock, so that times follow `seq`.

    Args:
        fingerprint: `evolution.fingerprint` of what will be said.
        touch: fields of the conversation to set in passing.

    Raises:
        IntegrityError: its client_message_id is in use.
    """
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        return _in_one_trip(message, fingerprint, touch)
    with transaction.atomic():
        seq = next_seq(message.conversation_id, **touch)
        message.sort_at = message.created_at = timezone.now()
        insert(message)
        return enqueue_delivery(message, fingerprint=fingerprint, seq=seq)


def _in_one_trip(message: Message, fingerprint: str, touch: Mapping[str, Any]) -> Delivery:
    """PostgreSQL: one statement, which is its own transaction, instead of three between BEGIN and COMMIT."""
    delivery = _queued(message, Delivery.Kind.TEXT, fingerprint, None)
    lane, lane_values = _touching(message.conversation_id, touch)
    now = ("lane.now",)
    said, said_values = insertion_from("lane", message, sort_at=now, created_at=now)
    owed, owed_values = insertion_from("lane", delivery, seq=("lane.next_seq",), sweep_at=_later())
    sql = f"WITH lane AS ({lane}, clock_timestamp() AS now), said AS ({said}) {owed} {_TOLD}"
    [found] = pipeline.run([(sql, [*lane_values, *said_values, *owed_values])])
    if not found:
        raise Conversation.DoesNotExist(f"no conversation {message.conversation_id}")
    [(delivery.pk, delivery.seq, message.created_at)] = found
    message.sort_at = message.created_at
    inserted(message)
    inserted(delivery)
    return delivery


def _later() -> tuple[str, float]:
    """When the sweeper is to look, should nobody else."""
    return statements(connection.vendor).later, settings.CHAT_SWEEP_AFTER_SECONDS


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
    delivery = _queued(message, kind, fingerprint, payload)
    delivery.seq = next_seq(message.conversation_id) if seq is None else seq
    insert(delivery, sweep_at=_later())
    return delivery


def _queued(
    message: Message, kind: Delivery.Kind, fingerprint: str, payload: dict[str, Any] | None
) -> Delivery:
    return Delivery(
        tenant_id=message.tenant_id,
        conversation_id=message.conversation_id,
        instance_id=message.instance_id,
        message=message,
        kind=kind,
        fingerprint=fingerprint,
        payload=payload,
    )
