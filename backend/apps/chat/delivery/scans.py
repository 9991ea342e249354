"""What a whole instance sent lately, asked of `findMessages` once for all unclear rows that need it.

A chat in which nothing of ours surely went out has no canary of its own, and Evolution may file what we send there
under an address we do not know yet. Its absence is read from everything the instance sent: on a busy one thousands of
records, the same for all rows that became unclear together. So one scan runs at a time, and answers all it can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final as Constant
from uuid import UUID

from django.db.models import Min, OuterRef, QuerySet, Subquery

from apps.chat.delivery import lane
from apps.chat.delivery.database import Database
from apps.chat.delivery.evidence import CLOCK_MARGIN
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef
from apps.chat.evolution.events import MessageEvent
from apps.chat.evolution.fingerprint import fingerprint_of_record
from apps.chat.models import Ack, Attempt, Conversation, Delivery, Instance, Message

logger = logging.getLogger(__name__)

# A page is read between two turns of the event loop. All of them: what 200 messages a second leave in SETTLE.
PAGE_SIZE: Constant = 200
MOST_PAGES: Constant = 100
KEEP_SECONDS: Constant = 10.0
# So much further back than asked a scan reaches, when rows that became unclear before are waiting for one too.
_REACH: Constant = timedelta(seconds=120)
_ACTIVE_CHATS: Constant = 50


@dataclass(frozen=True, slots=True)
class Canary:
    """A message of ours that surely went out: an answer without it proves nothing.

    Attributes:
        at: not after the time WhatsApp gave it.
    """

    provider_id: str
    at: datetime
    conversation_id: UUID

    def is_in(self, records: Iterable[MessageEvent]) -> bool:
        """Is it among these?"""
        return any(record.key_id == self.provider_id for record in records)


@dataclass(frozen=True, slots=True)
class Scan:
    """Everything of ours between two moments, if it could be read.

    Attributes:
        asked_at: when the question was put, by the database's clock.
        answered: did Evolution answer at all?
        canary: was all of it read, and in it the last message that surely went out before `asked_at`?
        records: what was sent, by fingerprint.
    """

    since: datetime
    asked_at: datetime
    answered: bool
    canary: bool
    records: Mapping[str, tuple[MessageEvent, ...]]

    def covers(self, since: datetime, settled_at: datetime) -> bool:
        """Does it tell of a row that took its first step then and had settled at that time?"""
        return self.since <= since and self.asked_at > settled_at


class InstanceScans:
    """The scans of this process: at most one at a time for each instance, each kept for a moment."""

    def __init__(self, database: Database, client: EvolutionClient) -> None:
        self._database, self._client = database, client
        self._scans: dict[UUID, asyncio.Task[Scan]] = {}

    async def covering(
        self, ref: InstanceRef, instance_id: UUID, since: datetime, settled_at: datetime
    ) -> Scan:
        """A scan that tells of a row first stepped at `since`, begun after `settled_at` (which has passed)."""
        while True:
            running = self._scans.get(instance_id)
            if running is not None:
                scan = await asyncio.shield(running)
                if scan.covers(since, settled_at):
                    return scan
            if self._scans.get(instance_id) is running:  # nobody else began one meanwhile
                self._begin(ref, instance_id, since)

    def _begin(self, ref: InstanceRef, instance_id: UUID, since: datetime) -> None:
        scan = asyncio.create_task(self._scan(ref, instance_id, since), name=f"scan {instance_id}")
        self._scans[instance_id] = scan
        forget = asyncio.get_running_loop().call_later
        scan.add_done_callback(lambda done: forget(KEEP_SECONDS, self._forget, instance_id, done))

    def _forget(self, instance_id: UUID, scan: asyncio.Task[Scan]) -> None:
        if self._scans.get(instance_id) is scan:
            del self._scans[instance_id]

    async def _scan(self, ref: InstanceRef, instance_id: UUID, since: datetime) -> Scan:
        asked_at, canary, waiting = await self._database.call(lambda: _opening(instance_id, since - _REACH))
        since = min(since, waiting or since, canary.at if canary else since)
        records: list[MessageEvent] = []
        try:
            complete = await self._read(ref, since - CLOCK_MARGIN, asked_at + CLOCK_MARGIN, records)
        except EvolutionError as error:
            logger.info("findMessages gave no answer", extra={"instance": ref.name, "reason": error.reason})
            return Scan(since, asked_at, answered=False, canary=False, records={})
        shown = complete and canary is not None and canary.is_in(records)
        return Scan(since, asked_at, answered=True, canary=shown, records=_by_fingerprint(records))

    async def _read(
        self, ref: InstanceRef, gte: datetime, lte: datetime, records: list[MessageEvent]
    ) -> bool:
        """Read page after page; whether that was all, and all could be read."""
        unread = 0
        for page in range(1, MOST_PAGES + 1):
            result = await self._client.find_messages(
                ref, remote_jid="", gte=gte, lte=lte, page=page, page_size=PAGE_SIZE
            )
            records += result.records
            unread += result.unread
            if page >= result.pages:
                return not unread
        return False


def _opening(instance_id: UUID, earliest: datetime) -> tuple[datetime, Canary | None, datetime | None]:
    """Now; the canary; the first step of those that wait for evidence, not before `earliest`."""
    now = datetime.fromtimestamp(lane.database_seconds(), UTC)
    unclear = Attempt.objects.filter(
        instance_id=instance_id,
        closed__isnull=True,
        step_at__gte=earliest,
        delivery__state=Delivery.State.VERIFYING,
    )
    waiting = unclear.aggregate(first=Min("step_at"))["first"]
    return now, last_sure(instance_id), waiting


def last_sure(instance_id: UUID, conversation_id: UUID | None = None) -> Canary | None:
    """The last message of ours that surely went out, in this conversation or anywhere on the instance.

    Anywhere: among the chats that were active last. Messages have no index by instance and time, and one more would be
    paid for with every message; so only where none of those chats has one are all messages looked through.
    """
    if conversation_id is not None:
        return _canary(_sure(instance_id).filter(conversation_id=conversation_id))
    latest = _sure(instance_id).filter(conversation_id=OuterRef("pk")).order_by("-sort_at", "-id")
    tenant = Instance.objects.filter(pk=instance_id).values("tenant_id")
    active = Conversation.objects.filter(instance_id=instance_id, tenant_id=Subquery(tenant))
    active = active.order_by("-last_message_at", "-id").annotate(latest=Subquery(latest.values("pk")[:1]))
    candidates = [found for found in active.values_list("latest", flat=True)[:_ACTIVE_CHATS] if found]
    return _canary(_sure(instance_id).filter(pk__in=candidates)) or _canary(_sure(instance_id))


def _sure(instance_id: UUID) -> QuerySet[Message]:
    return Message.objects.filter(
        instance_id=instance_id,
        direction=Message.Direction.OUTGOING,
        provider_id__isnull=False,
        ack__gte=Ack.SUBMITTED,
    )


def _canary(sure: QuerySet[Message]) -> Canary | None:
    found = sure.order_by("-sort_at", "-id").first()
    if found is None or found.provider_id is None:
        return None
    # Not `sent_at`: of a send whose answer was lost that is when we learnt of it, long after WhatsApp's own time.
    steps = Attempt.objects.filter(instance_id=found.instance_id, provider_id=found.provider_id)
    step_at = steps.values_list("step_at", flat=True).first()
    return Canary(found.provider_id, step_at or found.sent_at or found.created_at, found.conversation_id)


def _by_fingerprint(records: list[MessageEvent]) -> dict[str, tuple[MessageEvent, ...]]:
    found: dict[str, tuple[MessageEvent, ...]] = {}
    for record in records:
        if record.from_me and not record.from_phone:
            mark = fingerprint_of_record(record)
            found[mark] = (*found.get(mark, ()), record)
    return found
