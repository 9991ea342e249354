"""The resolver turns "maybe sent" into sent, not sent, or held (T8 to T11).

It looks at growing intervals: is there an echo or an ack by now, does `findMessages` know the message? What is found is
bound at once. Absence counts only when the question was asked after everything that could still happen had happened
(SETTLE after the step), the same answer shows a message of ours that surely went out (the canary), and nothing in it
could be the missing one. Everything else is held for a person.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final as Constant
from uuid import UUID
from weakref import WeakValueDictionary

from django.conf import settings

from apps.chat.delivery import acks, announce, dead_letters, effects, evidence, lane
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.evidence import CLOCK_MARGIN, Bound
from apps.chat.delivery.lane import Final, Step
from apps.chat.delivery.passport import write
from apps.chat.delivery.scans import Canary, InstanceScans, last_sure
from apps.chat.delivery.settle import settle_seconds
from apps.chat.delivery.sql import DOUBTS
from apps.chat.evolution import jids
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef
from apps.chat.evolution.events import MessageEvent
from apps.chat.models import Attempt, ContactJid, Conversation, Delivery, Instance

logger = logging.getLogger(__name__)
State = Delivery.State
Closed = Attempt.Closed

LOOKS: Constant = (1.0, 2.0, 4.0, 8.0, 15.0)
CLAIM_SECONDS: Constant = (
    30.0  # a resolver that dies is replaced after this; one that is slow finds its fence gone
)
PAGE_SIZE: Constant = 100
MOST_PAGES: Constant = 10
LOOKS_WITHOUT_ANSWER: Constant = 5


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of an unclear delivery before Evolution is asked."""

    instance: Instance
    addresses: tuple[str, ...]
    first_step_at: datetime
    last_step_at: datetime
    asked_at: datetime
    doubtful: bool
    canary: Canary | None
    canary_here: bool
    said: frozenset[str] = frozenset()
    settle: float = 0.0

    @property
    def settled(self) -> bool:
        """Could nothing of the open attempts happen any more when the question was asked?"""
        return self.asked_at > self.settles_at

    @property
    def settles_in(self) -> float:
        """Seconds until absence may count."""
        return max((self.settles_at - self.asked_at).total_seconds(), 0.0)

    @property
    def settles_at(self) -> datetime:
        """When nothing of the open attempts can happen any more."""
        return self.last_step_at + timedelta(seconds=max(self.settle, settings.CHAT_SEND_SETTLE_SECONDS))


@dataclass(frozen=True, slots=True)
class Answer:
    """What findMessages showed: did it answer, was the canary in it (and all of it read), what of ours."""

    answered: bool
    canary: bool
    records: tuple[MessageEvent, ...] = ()


class Resolver:
    """Looks after rows in `verifying`, a few at a time.

    Args:
        settled: told the conversation and instance of a lane that may move again.
    """

    def __init__(
        self,
        database: DatabaseThread,
        client: EvolutionClient,
        owner: Callable[[], int],
        settled: Callable[[UUID, UUID], None],
        concurrency: int = 16,
    ) -> None:
        self._database, self._client, self._owner, self._settled = database, client, owner, settled
        self._slots = asyncio.Semaphore(concurrency)
        self._most_of_one = max(concurrency // 2, 1)
        self._slots_of: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._scans = InstanceScans(database, client)
        self._stopping = False

    @property
    def room(self) -> int:
        """How many more rows may be added."""
        return 0 if self._stopping else max(0, 256 - len(self._tasks))

    def add(self, delivery_id: int, instance_id: UUID) -> None:
        """Look at this row soon. An instance that answers slowly has at most half of the slots."""
        if self._stopping or delivery_id in self._tasks:
            return
        slots = self._slots_of.setdefault(instance_id, asyncio.Semaphore(self._most_of_one))
        task = asyncio.create_task(self._resolve(delivery_id, slots), name=f"resolve {delivery_id}")
        self._tasks[delivery_id] = task
        task.add_done_callback(lambda done: self._finished(delivery_id, done))

    def _finished(self, delivery_id: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(delivery_id, None)
        if not task.cancelled() and task.exception() is not None:
            logger.error(
                "a verification stopped on an error",
                extra={"delivery": delivery_id},
                exc_info=task.exception(),
            )

    async def stop(self, grace: float) -> None:
        """Take no more; looks under way may end, the rest is claimed anew by others."""
        self._stopping = True
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks.values(), timeout=grace)
            for task in pending:
                task.cancel()

    async def _resolve(self, delivery_id: int, slots: asyncio.Semaphore) -> None:
        async with slots, self._slots:
            owner = self._owner()
            claimed = await self._database.call(
                lambda: lane.claim_verifying([delivery_id], owner, CLAIM_SECONDS)
            )
            for step in claimed:
                await self._look(step)

    async def _look(self, step: Step) -> None:
        case = await self._database.call(lambda: open_case(step)) if step.kind in lane.OWN_SENDS else None
        if case is None:  # nothing can have left, or doing it again shows nothing twice
            await self._record(step, absent(step))
            return
        answer = await self._ask(step, case)
        found = await self._database.call(lambda: bind_found(step, case, answer.records))
        if found:
            await self._database.call(lambda: announce.message_changed(step.message_id))
            self._settled(step.conversation_id, step.instance_id)
            return
        ambiguous = case.settled and await self._database.call(lambda: evidence.has_ambiguous(step.id))
        await self._record(step, verdict(step, case, answer, ambiguous))

    async def _ask(self, step: Step, case: Case) -> Answer:
        """Ask for each address of the contact; once absence would count, for the instance if only it has a canary."""
        ref = InstanceRef(step.instance_name, step.base_url, step.api_key)
        if case.settled and case.canary and not case.canary_here:
            since = case.first_step_at
            scan = await self._scans.covering(ref, step.instance_id, since, case.settles_at)
            found = [record for said in case.said for record in scan.records.get(said, ())]
            return Answer(scan.answered, scan.canary, tuple(found))
        return await self._ask_addresses(step, case, ref)

    async def _ask_addresses(self, step: Step, case: Case, ref: InstanceRef) -> Answer:
        since = case.first_step_at
        if case.canary_here and case.canary:
            since = min(since, case.canary.at)
        records: list[MessageEvent] = []
        complete = True  # absence can be read only from all there is
        try:
            for address in case.addresses:
                for page in range(1, MOST_PAGES + 1):
                    result = await self._client.find_messages(
                        ref,
                        remote_jid=address,
                        gte=since - CLOCK_MARGIN,
                        lte=case.asked_at + CLOCK_MARGIN,
                        page=page,
                        page_size=PAGE_SIZE,
                    )
                    records += result.records
                    complete = complete and not result.unread
                    if page >= result.pages:
                        break
                else:
                    complete = False
        except EvolutionError as error:
            logger.info("findMessages gave no answer", extra={"delivery": step.id, "reason": error.reason})
            return Answer(answered=False, canary=False)
        shown = complete and case.canary is not None and case.canary.is_in(records)
        return Answer(True, shown, tuple(records))

    async def _record(self, step: Step, final: Final) -> None:
        row = await self._database.finalize(final)
        if row is None:
            return
        if final.state != State.VERIFYING:
            await self._database.call(lambda: note(step, final))
            announce.finalized(step, final, row)
            await dead_letters.follow_soon(self._database, row)
            if step.kind not in lane.OWN_SENDS and row.state == State.FAILED:
                await self._database.call(lambda: effects.gave_up(step, final.reason))
            logger.info(
                "verification ended", extra={"delivery": step.id, "state": row.state, "reason": final.reason}
            )
        if row.state != State.VERIFYING:
            self._settled(step.conversation_id, step.instance_id)


# --- database side, called on the database thread -------------------------------------------------


def open_case(step: Step) -> Case | None:
    """The facts, or None when no attempt of the row is open."""
    attempts = list(Attempt.objects.filter(delivery_id=step.id, closed__isnull=True).order_by("n"))
    if not attempts:
        return None
    asked_at = datetime.fromtimestamp(lane.database_seconds(), UTC)
    conversation = Conversation.objects.select_related("instance").get(pk=step.conversation_id)
    known = ContactJid.objects.filter(contact_id=conversation.contact_id).values_list("jid", flat=True)
    canary = last_sure(step.instance_id, step.conversation_id) or last_sure(step.instance_id)
    return Case(
        instance=conversation.instance,
        addresses=_spellings([conversation.remote_jid, *known]),
        first_step_at=attempts[0].step_at,
        last_step_at=max(attempt.step_at for attempt in attempts),
        asked_at=asked_at,
        doubtful=any(attempt.reason in DOUBTS for attempt in attempts),
        canary=canary,
        canary_here=canary is not None and canary.conversation_id == step.conversation_id,
        said=frozenset(attempt.fingerprint for attempt in attempts),
        settle=settle_seconds(step.kind, step.payload),
    )


def _spellings(known: Iterable[str]) -> tuple[str, ...]:
    """Every form under which Evolution may have filed the chat: it matches exactly, and rewrites numbers itself."""
    forms: dict[str, None] = {}
    for jid in known:
        forms[jid] = None
        user = jid.partition("@")[0]
        if jids.is_phone(jid):
            forms |= dict.fromkeys(jids.phone_jid(digits) for digits in jids.number_variants(user))
    return tuple(forms)


def bind_found(step: Step, case: Case, records: tuple[MessageEvent, ...]) -> bool:
    """Bind what was found; True when it proves this very row."""
    since = case.first_step_at - CLOCK_MARGIN
    recent = [
        record
        for record in records
        if record.timestamp is not None and datetime.fromtimestamp(record.timestamp, UTC) >= since
    ]
    for record in evidence.telling(case.instance, recent):
        places = _places(step, case, record)
        if evidence.bind_echo(case.instance, places, record) is Bound.ATTEMPT:
            acks.attach_parked_acks(case.instance.id, [record.key_id])
    return Delivery.objects.filter(pk=step.id, state=State.SENT).exists()


def _places(step: Step, case: Case, record: MessageEvent) -> list[UUID]:
    """The conversations a record belongs to; ours too when it bears one of the addresses we asked for."""
    said = (record.remote_jid, *record.alt_jids)
    places = evidence.conversations_of(case.instance, said)
    ours = {jids.canonical_key(address) for address in case.addresses}
    if step.conversation_id not in places and not ours.isdisjoint(jids.canonical_key(jid) for jid in said):
        places.append(step.conversation_id)
    return places


def note(step: Step, final: Final) -> None:
    """The end of a verification in the passport; absence closes every attempt that was still open."""
    if final.closed == Closed.NOT_SENT:
        Attempt.objects.filter(delivery_id=step.id, closed__isnull=True).exclude(n__gt=step.attempts).update(
            closed=Closed.NOT_SENT, closed_at=lane.database_now()
        )
    write(step.message_id, "verified", {"decision": State(final.state).name.lower(), "reason": final.reason})


# --- the decision, pure ---------------------------------------------------------------------------


def absent(step: Step) -> Final:
    """T10: it did not go out. Again, unless it was tried often enough."""
    failed = step.tries >= settings.CHAT_STREAM_MAX_RETRIES
    return Final(
        id=step.id,
        n=step.attempts,
        fence=step.fence,
        state=State.FAILED if failed else State.QUEUED,
        message=step.message_id,
        reason="not_sent_after_check",
        wait=None if failed else 0.0,
        closed=Closed.NOT_SENT,
    )


def _look_again(step: Step, wait: float) -> Final:
    return Final(
        id=step.id,
        n=step.attempts,
        fence=step.fence,
        state=State.VERIFYING,
        message=step.message_id,
        reason=step.reason or "unclear",
        wait=wait,
    )


def _held(step: Step, reason: str) -> Final:
    return Final(
        id=step.id,
        n=step.attempts,
        fence=step.fence,
        state=State.HELD,
        message=step.message_id,
        reason=reason,
    )


def verdict(step: Step, case: Case, answer: Answer, ambiguous: bool) -> Final:
    """What to write after a look that found no proof."""
    pause = LOOKS[min(step.checks, len(LOOKS)) - 1]
    if not case.settled:
        return _look_again(step, min(pause, case.settles_in + 0.1))
    if not answer.answered and (
        case.instance.gate != Instance.Gate.OPEN or step.checks < LOOKS_WITHOUT_ANSWER
    ):
        return _look_again(step, pause)
    proven = answer.answered and answer.canary and not ambiguous and not case.doubtful
    if step.mode == "at_least_once" or (proven and step.mode == "verified"):
        return absent(step)
    if ambiguous:
        return _held(step, "evidence_ambiguous")
    return _held(step, "evidence_missing" if not proven else "not_sent_after_check")
