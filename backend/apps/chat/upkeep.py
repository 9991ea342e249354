"""What is too old to be of use is removed, a little at a time: journalled webhooks, and evidence nobody asked for.

Every process does it; they do not get in each other's way, since a row that is gone is simply not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.inbound import changes, messages, reactions
from apps.chat.models import Attempt, Evidence, Message, WebhookEvent

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 300.0
PAUSE_SECONDS: Final = 1.0
BATCH: Final = 500
# Evidence outlives every verification, whatever the journal's retention.
EVIDENCE_DAYS: Final = 14.0


async def run(database: DatabaseThread, stop: asyncio.Event) -> None:
    """Look now and then until told to stop; a long overdue load is removed in batches with pauses."""
    while not stop.is_set():
        pause = LOOK_SECONDS
        for prune in (prune_journal, prune_evidence):
            if await _pruned(database, prune) >= BATCH:
                pause = PAUSE_SECONDS
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            continue


async def _pruned(database: DatabaseThread, prune: Callable[[], int]) -> int:
    try:
        return await database.call(prune)
    except Exception as error:  # the loop must live; what is old gets no younger
        logger.warning("upkeep failed", extra={"error": type(error).__name__})
        return 0


def prune_journal(days: float | None = None, limit: int = BATCH) -> int:
    """Remove webhooks that were received more than so many days ago; how many. 0 days: none.

    Those that could not be applied stay four times as long, and those that are still to be applied for ever.
    """
    days = settings.CHAT_JOURNAL_RETENTION_DAYS if days is None else days
    if not days:
        return 0
    ids = list(_old(days).order_by("id").values_list("pk", flat=True)[:limit])
    return WebhookEvent.objects.filter(pk__in=ids).delete()[0] if ids else 0


def count_old(days: float) -> int:
    """How many webhooks `prune_journal` would remove in the end."""
    return _old(days).count()


def _old(days: float) -> QuerySet[WebhookEvent]:
    done = Q(state__in=(WebhookEvent.State.APPLIED, WebhookEvent.State.IGNORED))
    failed = Q(state=WebhookEvent.State.FAILED, received_at__lt=Now() - timedelta(days=4 * days))
    return WebhookEvent.objects.filter(done | failed, received_at__lt=Now() - timedelta(days=days))


def prune_evidence(limit: int = BATCH) -> int:
    """Give late messages what waited for them, and remove what waited in vain; how many rows were looked at.

    An echo that an open attempt may yet be bound to stays.
    """
    open_attempt = Attempt.objects.filter(
        instance_id=OuterRef("instance_id"), fingerprint=OuterRef("fingerprint"), closed__isnull=True
    )
    old = Evidence.objects.filter(created_at__lt=Now() - timedelta(days=EVIDENCE_DAYS))
    useless = old.exclude(~Q(fingerprint="") & Exists(open_attempt))
    rows = list(useless.order_by("id")[:limit])
    for row in rows:
        _attach(row)
    Evidence.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def _attach(row: Evidence) -> None:
    for prefix in (changes.PARKED_PREFIX, reactions.PARKED_PREFIX):
        if row.provider_id.startswith(prefix):
            named = row.provider_id.removeprefix(prefix)
            message = Message.objects.filter(instance_id=row.instance_id, provider_id=named).first()
            if message is not None:
                messages.attach_late(message)
