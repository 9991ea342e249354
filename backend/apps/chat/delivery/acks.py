"""Acks: how far WhatsApp says a message came. Raised, never lowered; a rejection fails what was taken for sent (T17).

An ack may come before the answer or echo that gives a message its id: it is parked by its id, and attached after the
commit that binds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet, Subquery

from apps.chat import rows
from apps.chat.delivery import cold, dead_letters, gate, lane
from apps.chat.delivery.clash import verify_again
from apps.chat.models import Ack, Attempt, Delivery, Evidence, Instance, Message
from apps.chat.rows import insert

State = Delivery.State
Closed = Attempt.Closed

_REACHED: Final = ((Ack.SENT, "sent_at"), (Ack.DELIVERED, "delivered_at"), (Ack.SEEN, "seen_at"))
_RAISE: Final = """
UPDATE chat_message SET ack = %s,
  sent_at = coalesce(sent_at, %s), delivered_at = coalesce(delivered_at, %s), seen_at = coalesce(seen_at, %s)
WHERE instance_id = %s AND provider_id = %s AND direction = 'outgoing' AND ack < %s
RETURNING id
"""


def record_ack(
    instance: Instance, provider_id: str, rank: int | None, error: bool, at: datetime | None
) -> Message | None:
    """Raise a message's ack; it never falls. Unknown ids are parked until a message has them.

    Returns:
        The message as it is now, or None when no message has this id yet.
    """
    if rank is not None and rank >= Ack.SENT:
        gate.heard(instance)
    message = _raise_ack(instance.id, provider_id, rank or 0, error, at)
    if message is not None:
        return message
    _park_ack(instance.id, provider_id, rank or 0, error)
    # Whoever bound the id meanwhile looked for parked acks before ours was committed: look once more.
    attach_parked_acks(instance.id, [provider_id])
    return _told_of(instance.id, provider_id).first()


def raise_plain_ack(instance: Instance, provider_id: str, rank: int, at: datetime) -> Message | None:
    """`record_ack` for by far the most acks: a message of ours that has its id and came further, in two statements.

    Returns:
        The message as it is now; None when there is none that this raises, which says nothing more.
    """
    when = connection.ops.adapt_datetimefield_value(at)
    times = [when if rank >= reached else None for reached, _ in _REACHED]
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [rank, *times, rows.key(Instance, instance.pk), provider_id, rank])
        raised = cursor.fetchall()
    if not raised:
        return None
    if rank >= Ack.SENT:
        gate.heard(instance)
    return rows.select(Message, "FROM chat_message WHERE chat_message.id = %s", [raised[0][0]])[0][0]


def attach_parked_acks(instance_id: UUID, provider_ids: Iterable[str]) -> list[Message]:
    """Give acks that came before their message to it. Call after the commit that gave the message its id."""
    raised = []
    for row in Evidence.objects.filter(instance_id=instance_id, provider_id__in=list(provider_ids)):
        message = _raise_ack(instance_id, row.provider_id, row.ack, row.ack_error, None)
        if message is not None:
            # What rose since we read it stays: whoever raised it attaches it after the commit that did.
            Evidence.objects.filter(pk=row.pk, ack=row.ack, ack_error=row.ack_error).delete()
            raised.append(message)
    return raised


def _told_of(instance_id: UUID, provider_id: str) -> QuerySet[Message]:
    """The message that an id stands for: its own, or that of any attempt to send it."""
    own = Message.objects.filter(instance_id=instance_id, provider_id=provider_id)
    if own.exists():
        return own
    attempts = Attempt.objects.filter(instance_id=instance_id, provider_id=provider_id)
    sends = attempts.filter(delivery__kind__in=(Delivery.Kind.TEXT, Delivery.Kind.MEDIA))
    return Message.objects.filter(pk__in=sends.values("delivery__message_id"))


def _raise_ack(
    instance_id: UUID, provider_id: str, rank: int, error: bool, at: datetime | None
) -> Message | None:
    with transaction.atomic():
        if error:  # the delivery before its message, as a finalize locks them
            _lock_delivery_of(instance_id, provider_id)
        message = _told_of(instance_id, provider_id).select_for_update(no_key=True).first()
        if message is None:
            return None
        changed = rise(message, rank, at or datetime.now(UTC))
        if changed:
            message.save(update_fields=[*changed])
        if error:
            _reject(message, provider_id)
    return message


def _lock_delivery_of(instance_id: UUID, provider_id: str) -> None:
    attempts = Attempt.objects.filter(instance_id=instance_id, provider_id=provider_id)
    owner = attempts.values("delivery_id")[:1]
    Delivery.objects.select_for_update(no_key=True).filter(pk=Subquery(owner)).first()


def rise(message: Message, rank: int, at: datetime) -> list[str]:
    """Raise an ack in memory; answers the fields that changed, not yet saved."""
    if rank <= message.ack:
        return []
    message.ack = rank
    changed = ["ack"]
    for reached, field in _REACHED:
        if rank >= reached and getattr(message, field) is None:
            setattr(message, field, at)
            changed.append(field)
    return changed


def _reject(message: Message, provider_id: str) -> None:
    """T17: WhatsApp refused what Evolution had accepted. Failed, unless another attempt of it got through."""
    attempt = Attempt.objects.filter(instance_id=message.instance_id, provider_id=provider_id).first()
    if attempt is None or message.ack >= Ack.DELIVERED:
        return
    if attempt.closed != Closed.ERROR:  # told again, it is still one rejection
        transaction.on_commit(lambda: cold.rejected(message.instance_id, message.conversation_id))
    Attempt.objects.filter(pk=attempt.pk).update(closed=Closed.ERROR, reason="rejected_by_whatsapp")
    if Attempt.objects.filter(delivery_id=attempt.delivery_id, closed=Closed.ACCEPTED).exists():
        return
    Message.objects.filter(pk=message.pk).update(ack_error=True)
    message.ack_error = True
    delivery = Delivery.objects.select_for_update(no_key=True).get(pk=attempt.delivery_id)
    if delivery.state == State.SENT and Attempt.objects.filter(delivery=delivery, closed=None).exists():
        verify_again(delivery)  # a later try is still unclear: it decides
    elif delivery.state == State.SENT:
        Delivery.objects.filter(pk=delivery.pk).update(
            state=State.FAILED,
            reason="rejected_by_whatsapp",
            failure_gen=delivery.failure_gen + 1,
            finished_at=lane.database_now(),
        )
        transaction.on_commit(lambda: dead_letters.record([delivery.pk]))


def _park_ack(instance_id: UUID, provider_id: str, rank: int, error: bool) -> None:
    """One statement: between a look and an insert, whoever binds the id may take the row away."""
    row = Evidence(instance_id=instance_id, provider_id=provider_id, ack=rank, ack_error=error)
    insert(
        row,
        on_conflict="""(instance_id, provider_id) DO UPDATE SET
            ack = CASE WHEN excluded.ack > chat_evidence.ack THEN excluded.ack ELSE chat_evidence.ack END,
            ack_error = (excluded.ack_error OR chat_evidence.ack_error)""",
    )
