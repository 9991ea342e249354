"""The gap healer: what Evolution holds is compared with what we hold, and what webhooks did not bring is taken in.

Each instance has its turn every CHAT_HEAL_SECONDS and soon after it connects, in one process at a time. A look asks for
the messages since the last one (an idle instance: one cheap question), and for those of ours that still lack an
acknowledgement. What is missing is journalled, as a webhook would have been, and applied like one: once, marked as
recovered. How much one look may cost is bounded; a larger gap is closed in several.

Of messages that their records tell nothing about, some are asked about by themselves: Evolution keeps what befell a
message beside it, and tells of it also when the message is not found by its time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Max, Min, Q, QuerySet
from django.db.models.functions import Now
from prometheus_client import Counter

from apps.chat import inbound, journal
from apps.chat.delivery import lane
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.evolution import jids
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef
from apps.chat.evolution.records import Record, find_records, find_statuses
from apps.chat.evolution.scrub import strip_credentials
from apps.chat.models import Ack, Attempt, Instance, Message

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
AT_ONCE: Final = 4
PAGE_SIZE: Final = 100
MOST_PAGES: Final = 10
PAUSE_SECONDS: Final = 0.1
# Webhooks of so young a message may still be on their way ...
GRACE: Final = timedelta(seconds=10)
# ... and rows appear late in Evolution's database, so that the end of a look is looked at again.
OVERLAP: Final = timedelta(seconds=120)
FIRST_LOOK_BACK: Final = timedelta(hours=1)
LONGEST_LOOK_BACK: Final = timedelta(days=7)
# How far back acknowledgements are asked for: each look, each 4th, each 20th.
ACK_LOOKS: Final = (
    (20, timedelta(hours=24)),
    (4, timedelta(hours=6)),
    (1, timedelta(minutes=15)),
)
# How many messages one look asks about one by one, of those that have no acknowledgement in their record.
STATUS_QUESTIONS: Final = 20
MOST_UNDELIVERED: Final = 1000
_REMEMBERED: Final = 20_000
_STATUS_WORDS: Final = {Ack.SENT: "SERVER_ACK", Ack.DELIVERED: "DELIVERY_ACK", Ack.SEEN: "READ"}

_HEALED = Counter("chat_healed", "What the gap healer found missing and took in, by kind.", ["kind"])

Json = dict[str, object]
Piece = tuple[str, Json]


class Healer:
    """One per process; whichever process claims an instance looks at it."""

    def __init__(self, database: DatabaseThread, client: EvolutionClient) -> None:
        self._database, self._client = database, client
        self._told: OrderedDict[tuple[UUID, str, str], None] = OrderedDict()
        self._looks: dict[UUID, int] = {}
        # Messages asked about by themselves, the one that was asked about longest ago first.
        self._asked: OrderedDict[tuple[UUID, str], None] = OrderedDict()

    async def run(self, stop: asyncio.Event) -> None:
        """Look after whoever is due until told to stop."""
        if not settings.CHAT_HEAL_SECONDS:
            await stop.wait()
        while not stop.is_set():
            try:
                await self.tick()
            except Exception as error:  # the loop must live; who is due stays due, or is due again soon
                logger.warning("the healer could not look", extra={"error": type(error).__name__})
            try:
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    async def tick(self) -> int:
        """Look at every instance that is due; how many there were."""
        instances = await self._database.call(claim_due)
        await asyncio.gather(*(self._look_safely(instance) for instance in instances))
        return len(instances)

    async def _look_safely(self, instance: Instance) -> None:
        try:
            healed = await self.look(instance)
        except (EvolutionError, journal.NotStored) as error:
            why = error.reason if isinstance(error, EvolutionError) else "not stored"
            logger.info("not healed", extra={"instance": str(instance.pk), "reason": why})
            return
        if healed:
            logger.warning("webhooks had been missed", extra={"instance": str(instance.pk), "healed": healed})

    async def look(self, instance: Instance) -> int:
        """Compare once; how many pieces were missing. Raises EvolutionError, NotStored."""
        now = await self._database.call(_now)
        since = _since(instance, now)
        until = now - GRACE
        healed = 0
        if since < until:
            records, until = await self._records(instance, since, until)
            healed += await self._take_in(instance, records)
            await self._database.call(lambda: _healed_until(instance.pk, until, behind=until < now - GRACE))
        return healed + await self._acks(instance, now)

    async def _records(
        self, instance: Instance, since: datetime, until: datetime
    ) -> tuple[list[Record], datetime]:
        """What Evolution holds of this time, and up to when: a flood is taken in slices, the oldest first."""
        ref = InstanceRef(instance.name, instance.base_url, instance.api_key)
        while True:
            first = await find_records(self._client, ref, gte=since, lte=until, page_size=PAGE_SIZE)
            if first.pages <= MOST_PAGES or until - since <= timedelta(seconds=2):
                break
            until = since + (until - since) / 2
            await asyncio.sleep(PAUSE_SECONDS)
        records = first.records
        for page in range(2, first.pages + 1):
            await asyncio.sleep(PAUSE_SECONDS)
            more = await find_records(self._client, ref, gte=since, lte=until, page=page, page_size=PAGE_SIZE)
            records += more.records
        return records, until

    async def _acks(self, instance: Instance, now: datetime) -> int:
        """What became of messages that went out some time ago; no question when none waits for an answer."""
        look = self._looks[instance.pk] = self._looks.get(instance.pk, -1) + 1
        back = next(span for every, span in ACK_LOOKS if look % every == 0)
        window = await self._database.call(lambda: unacknowledged(instance.pk, now - back))
        if window is None:
            return 0
        ref = InstanceRef(instance.name, instance.base_url, instance.api_key)
        gte, lte = window[0] - OVERLAP, window[1] + OVERLAP
        records: list[Record] = []
        for page in range(1, MOST_PAGES + 1):
            found = await find_records(
                self._client, ref, gte=gte, lte=lte, page=page, page_size=PAGE_SIZE, from_me=True
            )
            records += found.records
            if page >= found.pages:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        healed = await self._take_in(instance, records)
        answered = {one.message.key_id for one in records if one.message.status or one.message.error}
        return healed + await self._statuses(instance, ref, (now - back, now - GRACE), answered)

    async def _statuses(
        self, instance: Instance, ref: InstanceRef, window: tuple[datetime, datetime], answered: set[str]
    ) -> int:
        """Ask about some of those whose records said nothing, one by one; trouble ends it until the next look."""
        undelivered = await self._database.call(lambda: undelivered_of(instance.pk, *window))
        found: list[Record] = []
        for key_id in self._next_to_ask(instance.pk, [one for one in undelivered if one not in answered]):
            try:
                record = await find_statuses(self._client, ref, key_id)
            except EvolutionError as error:
                logger.info(
                    "statuses not asked", extra={"instance": str(instance.pk), "reason": error.reason}
                )
                break
            found += [record] if record is not None else []
            await asyncio.sleep(PAUSE_SECONDS)
        if not found:
            return 0
        return await self._journal(
            instance, await self._database.call(lambda: changes_of(instance.pk, found))
        )

    def _next_to_ask(self, instance_id: UUID, ids: Sequence[str]) -> list[str]:
        """Up to STATUS_QUESTIONS of them: those never asked about, then those asked about longest ago."""
        wanted = set(ids)
        fresh = [one for one in ids if (instance_id, one) not in self._asked]
        again = [one for owner, one in self._asked if owner == instance_id and one in wanted]
        chosen = (fresh + again)[:STATUS_QUESTIONS]
        for one in chosen:
            self._asked.pop((instance_id, one), None)
            self._asked[instance_id, one] = None
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return chosen

    async def _take_in(self, instance: Instance, records: Sequence[Record]) -> int:
        """Journal what we lack of these records."""
        if not records:
            return 0
        missing = await self._database.call(lambda: list(missing_of(instance.pk, records)))
        return await self._journal(instance, missing)

    async def _journal(self, instance: Instance, missing: Sequence[Piece]) -> int:
        """Each piece once; how many were new."""
        fresh = [piece for piece in missing if (instance.pk, piece[0], _key_of(piece)) not in self._told]
        entries = [_entry(instance, body) for _, body in fresh]
        await asyncio.gather(*(journal.store(entry) for entry in entries))
        for kind, body in fresh:
            self._told[instance.pk, kind, _key_of((kind, body))] = None
            _HEALED.labels(kind).inc()
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return len(fresh)


def _key_of(piece: Piece) -> str:
    """What makes a piece the same when it is found missing again: it was journalled, and is applied or cannot be."""
    return str(piece[1].get("piece"))


def _entry(instance: Instance, body: Json) -> journal.Entry:
    plain = {name: value for name, value in body.items() if name != "piece"}
    cleaned = strip_credentials({**plain, "instance": instance.name, "healed": True})
    return journal.Entry(instance.pk, str(body["event"]), cleaned, inbound.settled(cleaned))


# --- database side --------------------------------------------------------------------------------


def claim_due(limit: int = AT_ONCE) -> list[Instance]:
    """Instances whose turn it is, each given to one caller: its next turn is already set."""
    pause = timedelta(seconds=settings.CHAT_HEAL_SECONDS)
    due = Instance.objects.filter(heal_at__lte=Now()).exclude(gate=Instance.Gate.FROZEN)
    mine = []
    for instance in due.order_by("heal_at")[:limit]:
        if due.filter(pk=instance.pk).update(heal_at=Now() + pause):
            mine.append(instance)
    return mine


def missing_of(instance_id: UUID, records: Sequence[Record]) -> Iterator[Piece]:
    """What these records say that our rows do not, as webhook bodies."""
    records = [one for one in records if not _nobodys(one)]
    ids = [one.message.key_id for one in records]
    known = {
        row.provider_id: row for row in Message.objects.filter(instance_id=instance_id, provider_id__in=ids)
    }
    ours = Attempt.objects.filter(instance_id=instance_id, provider_id__in=ids)
    bound = set(ours.values_list("provider_id", flat=True))
    for record in records:
        key_id = record.message.key_id
        message = known.get(key_id)
        if message is not None:
            yield from _changes(record, message)
        elif key_id not in bound and not (record.deleted and record.message.message_type == ""):
            yield "message", {"event": "findMessages", "data": record.row, "piece": key_id}


def changes_of(instance_id: UUID, records: Sequence[Record]) -> list[Piece]:
    """As `missing_of`, of records that tell what befell a message but not what it says."""
    ids = [one.message.key_id for one in records]
    rows = Message.objects.filter(instance_id=instance_id, provider_id__in=ids)
    known = {row.provider_id: row for row in rows}
    return [
        piece
        for record in records
        if record.message.key_id in known
        for piece in _changes(record, known[record.message.key_id])
    ]


def _nobodys(record: Record) -> bool:
    jid = record.message.remote_jid
    return jids.is_status_broadcast(jid) or jids.is_newsletter(jid)


def _changes(record: Record, message: Message) -> Iterator[Piece]:
    said = record.message
    key: Json = {"id": said.key_id, "remoteJid": said.remote_jid, "fromMe": said.from_me}
    incoming = message.direction == Message.Direction.INCOMING
    rank = said.status or 0
    if rank > message.ack if not incoming else (rank >= Ack.SEEN and message.read_at is None):
        status = {"keyId": said.key_id, **key, "status": _STATUS_WORDS.get(Ack(rank), "")}
        yield "ack", {"event": "messages.update", "data": status, "piece": f"{said.key_id} {rank}"}
    if said.error and not message.ack_error and not incoming:
        status = {"keyId": said.key_id, **key, "status": "ERROR"}
        yield "ack", {"event": "messages.update", "data": status, "piece": f"{said.key_id} error"}
    if record.deleted and message.deleted_at is None:
        yield "deletion", {"event": "messages.delete", "data": key, "piece": said.key_id}
    text = said.text if said.text is not None else said.caption
    if record.edited and not record.deleted and text and text != message.content and _is_theirs(message):
        yield "edit", _edit(record, message, key, text)


def _is_theirs(message: Message) -> bool:
    """Our own edits are ours to know."""
    return message.origin != Message.Origin.API


def _edit(record: Record, message: Message, key: Json, text: str) -> Json:
    """The record's words are the newest: they must win over an edit that we know of."""
    at = (record.message.timestamp or 0) * 1000
    if message.edited_at is not None:
        at = max(at, int(message.edited_at.timestamp() * 1000) + 1)
    data = {
        "key": key,
        "type": "MESSAGE_EDIT",
        "editedMessage": {"conversation": text},
        "timestampMs": str(at),
    }
    return {"event": "messages.edited", "data": data, "piece": f"{record.message.key_id} {text}"}


def unacknowledged(instance_id: UUID, since: datetime) -> tuple[datetime, datetime] | None:
    """From when to when messages went out since then that nobody has seen yet; None when there are none.

    By conversations, which have an index for it. Groups acknowledge nothing.
    """
    rows = _waiting(instance_id, since, Ack.SEEN)
    found = rows.aggregate(first=Min("sort_at"), last=Max("sort_at"))
    return (found["first"], found["last"]) if found["first"] else None


def undelivered_of(instance_id: UUID, since: datetime, until: datetime) -> list[str]:
    """The ids of messages that went out then and of which nobody has told that they arrived, latest first."""
    rows = _waiting(instance_id, since, Ack.DELIVERED).filter(sort_at__lte=until)
    latest = rows.order_by("-sort_at").values_list("provider_id", flat=True)
    return [found for found in latest[:MOST_UNDELIVERED] if found]


def _waiting(instance_id: UUID, since: datetime, below: Ack) -> QuerySet[Message]:
    return Message.objects.filter(
        Q(ack__gt=Ack.NONE) & Q(ack__lt=below),
        conversation__instance_id=instance_id,
        conversation__last_message_at__gte=since,
        direction=Message.Direction.OUTGOING,
        provider_id__isnull=False,
        ack_error=False,
        sort_at__gte=since,
    ).exclude(conversation__remote_jid__endswith="@g.us")


def _now() -> datetime:
    return datetime.fromtimestamp(lane.database_seconds(), UTC)


def _since(instance: Instance, now: datetime) -> datetime:
    if instance.healed_until is None:
        return now - FIRST_LOOK_BACK
    return max(instance.healed_until - OVERLAP, now - LONGEST_LOOK_BACK)


def _healed_until(instance_id: UUID, until: datetime, *, behind: bool) -> None:
    """Remember how far we are; who is behind has the next turn at once."""
    rows = Instance.objects.filter(pk=instance_id)
    rows.filter(Q(healed_until__isnull=True) | Q(healed_until__lt=until)).update(healed_until=until)
    if behind:
        rows.update(heal_at=Now())
