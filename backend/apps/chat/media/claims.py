"""An attachment's row through its processing: the row decides, a queue only says "look at it".

`claim` gives a due row to exactly one worker for a lease, which `renew` prolongs; every later write names the owner, so
that a worker which was away too long changes nothing. A worker that dies leaves a row that is due when its lease ends.
Times are the database's.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from apps.chat.media import carried
from apps.chat.media.patience import AWAY
from apps.chat.models import MessageAttachment
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

LEASE: Final = timedelta(seconds=30)
Status = MessageAttachment.Status
_OPEN: Final = (Status.PENDING, Status.PROCESSING)


def claim(attachment_id: UUID) -> MessageAttachment | None:
    """Take a due row; None when it is done, not due yet, or somebody else's."""
    owner = uuid.uuid4().hex
    mine = (
        _due().filter(pk=attachment_id).update(status=Status.PROCESSING, owner=owner, wake_at=Now() + LEASE)
    )
    if not mine:
        return None
    row = (
        MessageAttachment.objects.select_related("message__instance")
        .filter(pk=attachment_id, owner=owner)
        .first()
    )
    if row is not None and row.tries == 0 and not row.reason:
        announce(row)
    return row


def renew(row: MessageAttachment) -> bool:
    """Prolong the lease; False when the row is somebody else's by now."""
    return bool(_mine(row).update(wake_at=Now() + LEASE))


def complete(row: MessageAttachment, **values: Any) -> bool:
    """The file is kept: record it, tell the browsers. False when the row was not ours any more.

    The webhook that carried the file, if one did, is rid of it in the same transaction.
    """
    with transaction.atomic():
        done = _end(row, status=Status.COMPLETED, reason="", completed_at=Now(), **values)
        if done:
            carried.take_out(row)
    return done


def refuse(row: MessageAttachment, reason: str, *, skipped: bool = False) -> bool:
    """The file will not come; `skipped` when we did not want it."""
    return _end(row, status=Status.SKIPPED if skipped else Status.FAILED, reason=reason)


def put_off(row: MessageAttachment, reason: str, seconds: float, *, counted: bool) -> bool:
    """It did not come this time; it is due again after some seconds."""
    tries = F("tries") + 1 if counted else F("tries")
    return _end(
        row, status=Status.PENDING, reason=reason, tries=tries, wake_at=Now() + timedelta(seconds=seconds)
    )


def give_back(row: MessageAttachment) -> bool:
    """We stop before it is done; anybody may take it at once."""
    return bool(_mine(row).update(status=Status.PENDING, owner="", wake_at=Now()))


def ask_again(attachment_id: UUID) -> bool:
    """A person wants it fetched again; False when it is here or on its way, or cannot be fetched."""
    wanted = MessageAttachment.objects.filter(
        pk=attachment_id, source__isnull=False, status__in=(Status.FAILED, Status.SKIPPED)
    )
    return bool(
        wanted.update(status=Status.PENDING, reason="", owner="", tries=0, wake_at=Now(), asked_at=Now())
    )


def due_now(instance_id: UUID) -> bool:
    """The number is there again: what waits because it was away waits no longer. Whether anything did."""
    waiting = MessageAttachment.objects.filter(
        message__instance_id=instance_id, status=Status.PENDING, reason=AWAY, wake_at__gt=Now()
    )
    return bool(waiting.update(wake_at=Now()))


def seconds_left(attachment_id: UUID) -> float | None:
    """In how many seconds a row may be taken (again); None when it has ended, or is not there."""
    rows = MessageAttachment.objects.filter(pk=attachment_id, status__in=_OPEN)
    found = rows.annotate(now=Now()).values_list("wake_at", "now").first()
    return max((found[0] - found[1]).total_seconds(), 0.0) if found else None


def due(limit: int, overdue_by: float = 0.0, without: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:
    """Rows that may be processed, each with its instance, the longest waiting first.

    Args:
        overdue_by: only those that have been due for so many seconds.
        without: instances that have no room at present.
    """
    late = _due().filter(wake_at__lte=Now() - timedelta(seconds=overdue_by))
    rows = late.exclude(message__instance_id__in=without) if without else late
    return list(rows.order_by("wake_at").values_list("pk", "message__instance_id")[:limit])


def instance_of(attachment_id: UUID) -> UUID | None:
    """The instance whose file it is; None for what is not there."""
    found = MessageAttachment.objects.filter(pk=attachment_id)
    return found.values_list("message__instance_id", flat=True).first()


def announce(row: MessageAttachment) -> None:
    """Tell the browsers how it stands. Call it after commit."""
    if row.message is not None:
        publish(row.tenant_id, events.attachment_updated(row, row.message.conversation_id))


def _due() -> QuerySet[MessageAttachment]:
    return MessageAttachment.objects.filter(
        Q(status__in=_OPEN), wake_at__lte=Now(), source__isnull=False, message__isnull=False
    )


def _mine(row: MessageAttachment) -> QuerySet[MessageAttachment]:
    return MessageAttachment.objects.filter(pk=row.pk, owner=row.owner, status=Status.PROCESSING)


def _end(row: MessageAttachment, **values: Any) -> bool:
    if not _mine(row).update(owner="", **values):
        return False
    row.refresh_from_db(fields=[*values, "owner"])
    transaction.on_commit(lambda: announce(row), robust=True)
    return True
