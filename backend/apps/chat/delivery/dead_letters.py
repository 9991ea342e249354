"""Dead letters: deliveries that failed for good, and the stream that says so to whoever watches Redis.

The row is the truth, the stream entry a notice: written after the commit that made the row `failed`, taken out when a
person replays or discards it or late evidence proves it sent. A notice that is lost, doubled or late costs nothing,
because lists and replays read rows, and `reconcile` makes the stream agree with them: one of all workers runs it
about once a minute, `chat_dead_letters` each time. That is often enough, as only an alert hangs on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import Error, connections
from django.db.models import F, Max, Min, QuerySet

from apps.chat import redis_dead_letters as stream
from apps.chat.delivery.database import Database
from apps.chat.delivery.lane import Finalized
from apps.chat.errors import QueueAway
from apps.chat.models import Delivery
from apps.chat.realtime.shapes import SEND_KINDS
from apps.chat.redis_dead_letters import DeadLetter

logger = logging.getLogger(__name__)
State = Delivery.State
T = TypeVar("T")

RECONCILE_SECONDS: Final = 60.0
_gathering: ContextVar[set[int] | None] = ContextVar("dead letters to forget", default=None)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What it took to make the stream agree with the rows."""

    added: int
    removed: int


def failed() -> QuerySet[Delivery]:
    """The rows that are dead letters: messages that failed for good and were neither replayed nor discarded."""
    return Delivery.objects.filter(state=State.FAILED, kind__in=SEND_KINDS)


# --- one delivery ---------------------------------------------------------------------------------


def notices(delivery_ids: Collection[int]) -> list[dict[str, str | int]]:
    """The stream entries of those of these deliveries that are failed now: ids, counts and times, nothing said."""
    rows = failed().filter(pk__in=delivery_ids).order_by("finished_at", "pk")
    timed = rows.annotate(first_step=Min("attempt_rows__step_at"), last_step=Max("attempt_rows__step_at"))
    return [_notice(row) for row in timed.values(*_COLUMNS)]


_IDS: Final = ("message_id", "conversation_id", "instance_id", "tenant_id")
_TIMES: Final = {
    "first_step": "first_attempt_at",
    "last_step": "last_attempt_at",
    "finished_at": "failed_at",
}
_COLUMNS: Final = ("id", "reason", "attempts", "failure_gen", *_IDS, *_TIMES)


def _notice(row: dict[str, Any]) -> dict[str, str | int]:
    return {
        "source": settings.CHAT_STREAM_SEND_NAME,
        "reason": row["reason"] or "unknown",
        "delivery_id": row["id"],
        **{name: str(row[name]) for name in _IDS},
        "attempts": row["attempts"],
        "failure_gen": row["failure_gen"],
        **{name: _stamp(row[column]) for column, name in _TIMES.items() if row[column] is not None},
    }


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(delivery_ids: Collection[int]) -> None:
    """Put up notices for deliveries that have just become `failed`. Call it after commit; it never raises."""
    _quietly(lambda: _add(notices(delivery_ids)))


def forget(delivery_ids: Collection[int]) -> None:
    """Take down the notices of deliveries that are no dead letters any more. After commit; never raises."""
    gathered = _gathering.get()
    if gathered is not None:
        gathered.update(delivery_ids)
    elif delivery_ids:
        _quietly(lambda: stream.remove_deliveries(delivery_ids))


@contextmanager
def forgetting_together() -> Iterator[None]:
    """What is forgotten inside is taken out of the stream at the end, in few calls: for bulk replays."""
    gathered: set[int] = set()
    token = _gathering.set(gathered)
    try:
        yield
    finally:
        _gathering.reset(token)
        forget(gathered)


def follow(rows: Iterable[Finalized]) -> None:
    """Make the stream follow what a finalize wrote."""
    for row in rows:
        if row.state == State.FAILED:
            record([row.id])
        elif _was_failed(row):
            forget([row.id])


async def follow_soon(database: Database, row: Finalized | None) -> None:
    """As `follow`, for an event loop: rows are read on its database thread, Redis is asked beside it."""
    if row is None:
        return
    if row.state == State.FAILED:
        found = await database.call(lambda: _quietly(lambda: notices([row.id])))
        await asyncio.to_thread(_quietly, lambda: _add(found or []))
    elif _was_failed(row):
        await asyncio.to_thread(forget, [row.id])


def _was_failed(row: Finalized) -> bool:
    """Proven sent after a failure: perhaps while it was `failed`, by evidence that came late."""
    return row.state == State.SENT and row.failure_gen > 0


def _add(letters: list[dict[str, str | int]]) -> None:
    if letters:
        stream.add(letters)


def _quietly(work: Callable[[], T]) -> T | None:
    """A notice is never worth an error: `reconcile` puts right what is left out here."""
    try:
        return work()
    except (QueueAway, Error) as error:
        logger.info("dead-letter stream not told", extra={"error": type(error).__name__})
        return None


# --- all of them ----------------------------------------------------------------------------------


def reconcile() -> Reconciled:
    """Make stream and rows agree: missing notices added (newest rows first, as far as the bound has room), stale and
    double ones removed. Entries without a delivery are left to people.

    Raises:
        QueueAway: Redis does not answer.
    """
    stale, missing = _compare()
    removed = stream.remove_entries(stale)
    for start in range(0, len(missing), 500):
        _add(notices(missing[start : start + 500]))
    if removed or missing:
        logger.info("dead letters reconciled", extra={"added": len(missing), "removed": removed})
    return Reconciled(len(missing), removed)


def disagreement() -> Reconciled:
    """What `reconcile` would do, without doing it.

    Raises:
        QueueAway: Redis does not answer.
    """
    stale, missing = _compare()
    return Reconciled(len(missing), len(stale))


def _compare() -> tuple[list[str], list[int]]:
    """Entries that should not be there, and deliveries that should have one."""
    known = [letter for letter in stream.entries() if letter.delivery_id is not None]
    kept = _kept(known)
    stale = [letter.entry_id for letter in known if letter.entry_id not in kept]
    return stale, _missing(set(kept.values()))


def _kept(known: list[DeadLetter]) -> dict[str, int | None]:
    """Entry -> delivery, of those that tell of a failure that stands; the last one, where there are two."""
    generations = _generations({letter.delivery_id for letter in known})
    right = [letter for letter in known if generations.get(letter.delivery_id, -1) == letter.failure_gen]
    last = {letter.delivery_id: letter.entry_id for letter in right}
    return {entry_id: delivery_id for delivery_id, entry_id in last.items()}


def _generations(delivery_ids: Collection[int | None]) -> dict[int | None, int]:
    ids = sorted(one for one in delivery_ids if one is not None)
    found: dict[int | None, int] = {}
    for start in range(0, len(ids), 500):
        rows = failed().filter(pk__in=ids[start : start + 500])
        found.update(rows.values_list("pk", "failure_gen"))
    return found


def _missing(shown: Collection[int | None]) -> list[int]:
    """Failed rows without a notice, as many as still fit: beyond the bound the stream keeps what it has."""
    room = settings.CHAT_STREAM_DLQ_MAXLEN - len(shown)
    newest = failed().order_by(F("finished_at").desc(nulls_last=True), "-pk")
    ids = newest.values_list("pk", flat=True)[: settings.CHAT_STREAM_DLQ_MAXLEN]
    return [pk for pk in ids if pk not in shown][: max(room, 0)]


async def keep_agreeing(stop: asyncio.Event) -> None:
    """Run `reconcile` until told to stop, about once a minute of all processes, beside the database thread."""
    pause = RECONCILE_SECONDS / 4
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            await asyncio.to_thread(_reconcile_in_turn)
        pause = RECONCILE_SECONDS


def _reconcile_in_turn() -> None:
    try:
        _quietly(lambda: reconcile() if stream.claim_reconcile(RECONCILE_SECONDS * 0.9) else None)
    finally:
        connections.close_all()
