"""Cold contacts: people who never wrote to the number that writes to them. WhatsApp bans numbers for that.

Their sends can be capped per day and instance (CHAT_COLD_CONTACT_DAILY_CAP), and rest for a day once WhatsApp has
rejected two of them within an hour (E24). Such a delivery is put off, not failed, and says why. Whoever has written is
not concerned, and what waited goes out at once when the customer writes. Groups are not cold: one joins them.
"""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final as Constant
from uuid import UUID

from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from apps.chat.delivery import lane
from apps.chat.delivery.database import Database
from apps.chat.delivery.lane import OWN_SENDS, Step
from apps.chat.evolution import jids
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Delivery, Instance, Message

logger = logging.getLogger(__name__)

CAP, HOLD = "cold_cap", "cold_hold"
REJECTIONS_WITHIN: Constant = timedelta(hours=1)
HOLD_FOR: Constant = timedelta(hours=24)
DAY_SECONDS: Constant = 86_400
# The next day's first sends are spread, or all lanes would move in one second.
SPREAD_SECONDS: Constant = 900.0
REMEMBERED: Constant = 10_000


class ColdContacts:
    """Asked before a send, told after it; one per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: set[int] = set()
        self._warm: OrderedDict[UUID, None] = OrderedDict()

    async def refusal(self, step: Step) -> Outcome | None:
        """Why this send must wait; None when it may go. Without a cap or a hold it costs nothing."""
        if not (settings.CHAT_COLD_CONTACT_DAILY_CAP or step.cold_held) or step.kind not in OWN_SENDS:
            return None
        if step.conversation_id in self._warm or jids.is_group(step.remote_jid):
            return None
        try:
            return await self._database.call(lambda: self._check(step))
        except Exception as error:  # the database is away: nothing has left, and nothing leaves
            logger.warning("a cold contact was not checked", extra={"error": type(error).__name__})
            return Outcome(Verdict.NOT_SENT, "fenced")

    def _check(self, step: Step) -> Outcome | None:
        if has_written(step.conversation_id):
            self._warm[step.conversation_id] = None
            if len(self._warm) > REMEMBERED:
                self._warm.popitem(last=False)
            return None
        if step.cold_held and (rest := held_for(step.instance_id)):
            return Outcome(Verdict.NOT_SENT, HOLD, wait=rest)
        cap = settings.CHAT_COLD_CONTACT_DAILY_CAP
        if not cap:
            return None
        if not count(step.instance_id, cap):
            return Outcome(Verdict.NOT_SENT, CAP, wait=_until_tomorrow())
        self._counted.add(step.id)
        return None

    async def ended(self, step: Step, outcome: Outcome) -> None:
        """A send that certainly did not go out is not counted."""
        if step.id not in self._counted:
            return
        self._counted.discard(step.id)
        if outcome.verdict is Verdict.NOT_SENT:
            try:
                await self._database.call(lambda: uncount(step.instance_id))
            except Exception as error:  # one send less today
                logger.warning("a cold send stays counted", extra={"error": type(error).__name__})


# --- the day's count -------------------------------------------------------------------------------


def has_written(conversation_id: UUID) -> bool:
    """Did the customer ever write here?"""
    incoming = Message.objects.filter(
        conversation_id=conversation_id, direction=Message.Direction.INCOMING
    ).exclude(kind="reaction")
    return incoming.exists()


def count(instance_id: UUID, cap: int) -> bool:
    """Take one of the day's sends; False when none is left."""
    row, today = Instance.objects.filter(pk=instance_id), _now().date()
    for _ in range(2):  # a new day begins once: whoever comes second counts on
        if row.filter(cold_day=today, cold_sent__lt=cap).update(cold_sent=F("cold_sent") + 1):
            return True
        if row.exclude(cold_day=today).update(cold_day=today, cold_sent=1):
            return True
    return False


def uncount(instance_id: UUID) -> None:
    """Put one of the day's sends back."""
    taken = Instance.objects.filter(pk=instance_id, cold_day=_now().date(), cold_sent__gt=0)
    taken.update(cold_sent=F("cold_sent") - 1)


def held_for(instance_id: UUID) -> float:
    """Seconds for which cold sends of the instance still rest; 0 when they do not."""
    until = Instance.objects.filter(pk=instance_id).values_list("cold_held_until", flat=True).first()
    if until is None:
        return 0.0
    return max((until - _now()).total_seconds(), 0.0)


def _now() -> datetime:
    return datetime.fromtimestamp(lane.database_seconds(), UTC)


def _until_tomorrow() -> float:
    return DAY_SECONDS - lane.database_seconds() % DAY_SECONDS + random.uniform(0, SPREAD_SECONDS)


# --- what happens meanwhile ------------------------------------------------------------------------


def rejected(instance_id: UUID, conversation_id: UUID) -> bool:
    """E24: WhatsApp rejected what it had accepted. Twice in an hour to strangers, and they are left alone for a day.

    Returns:
        whether cold sends rest from now on.
    """
    if has_written(conversation_id):
        return False
    row = Instance.objects.filter(pk=instance_id)
    again = row.filter(cold_error_at__gte=Now() - REJECTIONS_WITHIN)
    if again.update(cold_error_at=Now(), cold_held_until=Now() + HOLD_FOR):
        logger.error("sends to cold contacts rest for a day", extra={"instance": str(instance_id)})
        return True
    row.update(cold_error_at=Now())
    return False


def customer_wrote(conversation_id: UUID) -> None:
    """The contact is cold no more: what waited for that moves at once. Call it with the incoming message."""
    _waiting([conversation_id]).update(reason="", wake_at=Now(), sweep_at=Now())


def awaiting(conversation_ids: Iterable[UUID]) -> set[UUID]:
    """The conversations in which something waits for the customer to write."""
    return set(_waiting(conversation_ids).values_list("conversation_id", flat=True))


def _waiting(conversation_ids: Iterable[UUID]) -> QuerySet[Delivery]:
    queued = Delivery.objects.filter(live=True, state=Delivery.State.QUEUED, reason__in=(CAP, HOLD))
    return queued.filter(conversation_id__in=list(conversation_ids))


def matters(instance: Instance) -> bool:
    """Can deliveries of the instance be waiting because of this?"""
    return settings.CHAT_COLD_CONTACT_DAILY_CAP > 0 or instance.cold_held_until is not None
