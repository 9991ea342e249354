"""The watchdog (E23): an instance may take every message and give none to WhatsApp, while it calls itself open.

It is called mute, and parked, only when everything says so: three people were written to, no message was acknowledged
within 90 s, nothing else was heard of the number since, it did acknowledge before, and Evolution itself knows of no
acknowledgement either. Groups do not count: some are never acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final as Constant
from uuid import UUID

from django.db.models import Max
from django.db.models.functions import Now

from apps.chat.delivery import gate, lane
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.lane import OWN_SENDS, Step
from apps.chat.evolution import jids
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef
from apps.chat.models import Ack, Instance, Message, WebhookEvent

logger = logging.getLogger(__name__)

SILENCE_SECONDS: Constant = 90.0
RECIPIENTS: Constant = 3
LOOK_SECONDS: Constant = 15.0
MOST_SENDS: Constant = 64
MOST_EVENTS: Constant = 2000
NEVER_SECONDS: Constant = 3600.0
# Signs of life of the number itself; send.message and connection.update come from Evolution alone.
SIGNS: Constant = ("messages.upsert", "messages.update")


@dataclass(frozen=True, slots=True)
class Sent:
    """A send that was accepted: when by our clock, to whom, and its message."""

    at: float
    conversation_id: UUID
    message_id: UUID


class Watchdog:
    """Remembers the last accepted sends of each instance in this process and looks after them."""

    def __init__(
        self, database: DatabaseThread, client: EvolutionClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database, self._client, self._clock = database, client, clock
        self._sent: dict[UUID, deque[Sent]] = {}
        self._never: dict[UUID, float] = {}

    def accepted(self, step: Step) -> None:
        """A message was taken: its acknowledgement should follow."""
        if step.kind in OWN_SENDS and not jids.is_group(step.remote_jid):
            sent = self._sent.setdefault(step.instance_id, deque(maxlen=MOST_SENDS))
            sent.append(Sent(self._clock(), step.conversation_id, step.message_id))

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and then until told to stop."""
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:  # the loop must live; what was sent stays remembered
                logger.warning("the watchdog could not look", extra={"error": type(error).__name__})
            try:
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Judge every instance that had time enough to be heard of."""
        for instance_id in list(self._sent):
            waiting = self._overdue(instance_id)
            if len({sent.conversation_id for sent in waiting}) >= RECIPIENTS:
                await self._look_at(instance_id, waiting)

    def _overdue(self, instance_id: UUID) -> list[Sent]:
        horizon = self._clock() - SILENCE_SECONDS
        return [sent for sent in self._sent[instance_id] if sent.at <= horizon]

    async def _look_at(self, instance_id: UUID, waiting: Sequence[Sent]) -> None:
        since = self._clock() - waiting[0].at
        ids = [sent.message_id for sent in waiting]
        mute: bool | None = False
        heard = await self._database.call(lambda: is_heard(instance_id, ids, since))
        if not heard and await self._ever_heard(instance_id, ids):
            mute = await self._is_mute(instance_id, since)
        if mute is None:  # asked again at the next look
            return
        self._forget(instance_id, waiting)
        if mute:
            await self._park(instance_id)

    def _forget(self, instance_id: UUID, waiting: Sequence[Sent]) -> None:
        sent = self._sent[instance_id]
        while sent and sent[0].at <= waiting[-1].at:
            sent.popleft()
        if not sent:
            del self._sent[instance_id]

    async def _ever_heard(self, instance_id: UUID, ids: Sequence[UUID]) -> bool:
        """An instance that never acknowledged anything has no webhook for it: its silence says nothing."""
        if self._clock() - self._never.get(instance_id, -NEVER_SECONDS) < NEVER_SECONDS:
            return False
        if await self._database.call(lambda: ever_acknowledged(instance_id, ids)):
            return True
        self._never[instance_id] = self._clock()
        return False

    async def _is_mute(self, instance_id: UUID, since: float) -> bool | None:
        """Evolution's own word: does it know of any acknowledgement? None when it cannot be asked."""
        instance, now = await self._database.call(lambda: _instance_and_time(instance_id))
        ref = InstanceRef(instance.name, instance.base_url, instance.api_key)
        try:
            found = await self._client.find_messages(
                ref, remote_jid="", gte=now - timedelta(seconds=since + 10), lte=now + timedelta(seconds=60)
            )
        except EvolutionError:
            return None
        people = [record for record in found.records if not jids.is_group(record.remote_jid)]
        if any((record.status or 0) >= Ack.SENT for record in people):
            logger.warning(
                "acknowledgements do not reach us: look at the webhook",
                extra={"instance": str(instance_id)},
            )
            return False
        return len({record.remote_jid for record in people}) >= RECIPIENTS

    async def _park(self, instance_id: UUID) -> None:
        if await self._database.call(lambda: gate.park(instance_id, gate.MUTE)):
            logger.error("an instance is mute: restart it in Evolution", extra={"instance": str(instance_id)})


# --- database side --------------------------------------------------------------------------------


def is_heard(instance_id: UUID, message_ids: Sequence[UUID], since: float) -> bool:
    """Was any of the messages acknowledged or rejected, or anything else heard of the number in `since` seconds?"""
    messages = Message.objects.filter(pk__in=message_ids)
    if messages.filter(ack__gte=Ack.SENT).exists() or messages.filter(ack_error=True).exists():
        return True
    newest = WebhookEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0
    events = WebhookEvent.objects.filter(
        pk__gt=newest - MOST_EVENTS,
        instance_id=instance_id,
        received_at__gte=Now() - timedelta(seconds=since),
    )
    names = {
        name.lower().replace("_", ".").replace("-", ".") for name in events.values_list("event", flat=True)
    }
    return not names.isdisjoint(SIGNS)


def ever_acknowledged(instance_id: UUID, except_for: Sequence[UUID]) -> bool:
    """Did WhatsApp ever acknowledge another message of ours on this instance?"""
    ours = Message.objects.filter(
        instance_id=instance_id,
        provider_id__isnull=False,
        direction=Message.Direction.OUTGOING,
        ack__gte=Ack.SENT,
    )
    return ours.exclude(pk__in=except_for).exists()


def _instance_and_time(instance_id: UUID) -> tuple[Instance, datetime]:
    return Instance.objects.get(pk=instance_id), datetime.fromtimestamp(lane.database_seconds(), UTC)
