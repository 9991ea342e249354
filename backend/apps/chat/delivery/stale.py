"""Stale sends: what waited too long for an instance is a person's to send or discard, not ours to flood customers with.

Held in the transaction that opens the gate, so that no lane moves between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Now

from apps.chat.delivery import announce, lane
from apps.chat.delivery.sql import statements
from apps.chat.models import Delivery, Message, PassportEntry
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

State = Delivery.State
REASON = "stale"
CHUNK = 500
# More than so many at once: browsers fetch what they show anew instead.
MOST_TOLD = 200

# A stale message was never tried: sending it needs no doubt about an earlier try.
STILL_MAYBE = Case(When(reason=REASON, then=F("maybe")), default=Value(True))


def hold(instance_id: UUID) -> list[UUID]:
    """Hold the instance's messages that were queued longer than CHAT_STALE_AFTER_SECONDS; their ids.

    Call it inside the transaction that opens the gate, and `tell` once that is committed.
    """
    if settings.CHAT_STALE_AFTER_SECONDS <= 0:
        return []
    instance = instance_id if connection.vendor == "postgresql" else instance_id.hex
    values = {"instance": instance, "age": settings.CHAT_STALE_AFTER_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(statements(connection.vendor).hold_stale, values)
        held = [row[0] if isinstance(row[0], UUID) else UUID(row[0]) for row in cursor.fetchall()]
    _note(held, "held", {"reason": REASON})
    return held


def release_all(instance_id: UUID, *, send: bool) -> int:
    """Send all stale messages of an instance, each lane in its order, or discard them; how many there were."""
    with transaction.atomic():
        stale = Delivery.objects.filter(instance_id=instance_id, live=True, state=State.HELD, reason=REASON)
        rows = list(stale.select_for_update(no_key=True).order_by("id").values_list("id", "message_id"))
        for start in range(0, len(rows), CHUNK):
            _decide([pk for pk, _ in rows[start : start + CHUNK]], send)
        messages = [message for _, message in rows]
        _note(messages, "released" if send else "discarded", {"all_stale": True})
        transaction.on_commit(lambda: tell(messages))
        if rows:
            transaction.on_commit(lambda: lane.wake_instance(instance_id))
    return len(rows)


def _decide(ids: Sequence[int], send: bool) -> None:
    rows = Delivery.objects.filter(pk__in=ids)
    if send:
        rows.update(state=State.QUEUED, reason="", fence=F("fence") + 1, wake_at=Now(), sweep_at=Now())
    else:
        rows.update(
            state=State.CANCELLED, reason="discarded_by_person", fence=F("fence") + 1, finished_at=Now()
        )


def _note(message_ids: Sequence[UUID], event: str, detail: dict[str, object]) -> None:
    entries = (PassportEntry(message_id=pk, event=event, detail=detail) for pk in message_ids)
    PassportEntry.objects.bulk_create(entries, batch_size=CHUNK)


def tell(message_ids: Sequence[UUID]) -> None:
    """Tell the browsers what became of these messages of one tenant."""
    if len(message_ids) <= MOST_TOLD:
        for message_id in message_ids:
            announce.message_changed(message_id)
        return
    tenant_id = Message.objects.values_list("tenant_id", flat=True).get(pk=message_ids[0])
    publish(tenant_id, {"type": events.RESYNC_REQUIRED})
