"""The thread that applies the journal: in its order, many plain events at once, and again what failed.

A failed event stays NEW and is tried again after a growing pause; after `TRIES` it is FAILED, for a person to
look at. For a NEW row `applied_at` tells when it was last tried (or taken by a sweep): the pause counts from
there.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Final

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import Q
from django.db.models.functions import Now
from prometheus_client import Counter

from apps.chat import inbound
from apps.chat.evolution.events import event_name
from apps.chat.inbound import stretches, together
from apps.chat.models import WebhookEvent

logger = logging.getLogger(__name__)
State = WebhookEvent.State

TRIES: Final = 5
SWEEP_SECONDS: Final = 3.0
TROUBLE_SECONDS: Final = 1.0
BACKLOG: Final = 20_000
_MARKS: Final = 64
# A stretch of the journal is read, and its plain events applied, in one go: so many rows, of so many bytes together.
_STRETCH: Final = 32
_STRETCH_BYTES: Final = 1_000_000
_MOST_TRIES: Final = 1000
# Events that nobody applied (their process was killed) are due after this age ...
_ORPHANED: Final = timedelta(seconds=5)
# ... and those that were tried n times after this pause; index 0: taken by a sweep that died.
_PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (30, 2, 8, 30, 120, 300))

_LATER_NAMES: Final = sorted(
    {
        spelt
        for name in inbound.LATER
        for spelt in (name, name.replace(".", "-"), name.replace(".", "_").upper())
    }
)

_APPLIED = Counter("chat_webhook_applied", "Journalled webhooks by what became of them.", ["outcome"])


class Applier:
    """One thread over a queue of journal ids. Those beyond `BACKLOG` are left to the sweep.

    With `later` it is the one for what may wait (`inbound.LATER`), and sweeps for that only.
    """

    def __init__(self, *, later: bool = False) -> None:
        self.later = later
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, int]] = deque()
        self._busy = False
        self._stopping = False
        self._next_sweep = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"chat-inbound{'-later' * later}", daemon=True)
        self._thread.start()

    def put(self, events: Iterable[tuple[int, int]]) -> None:
        """Have these journalled events applied: (id, bytes)."""
        with self._changed:
            self._waiting.extend(list(events)[: max(0, BACKLOG - len(self._waiting))])
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until everything that was put was tried once; False when `timeout` seconds were too short."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def stop(self, timeout: float) -> None:
        """Finish what is queued, as far as the time allows; the sweep of another process takes the rest."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        marks: list[tuple[int, str]] = []
        while self._wait():
            try:
                self._work(marks)
            except Exception as error:
                # Whatever it was, the rows are still NEW and the sweep finds them.
                logger.warning("inbound: the journal cannot be applied now", extra=_described(error))
                connection.close()
                time.sleep(TROUBLE_SECONDS)
            marks.clear()
        connection.close()

    def _wait(self) -> bool:
        """Wait for work or for the time to sweep; False when it is time to end."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while not self._waiting and not self._stopping:
                left = self._next_sweep - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._busy = True
            return bool(self._waiting) or not self._stopping

    def _work(self, marks: list[tuple[int, str]]) -> None:
        """Apply a stretch of the queue, then mark it as done in one go: a lost mark costs a repetition."""
        _relax()
        while len(marks) < _MARKS and (ids := self._take()):
            marks += try_all(ids)
        mark_done(marks)
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            if sweep_once(_MARKS, later=self.later) == _MARKS:
                self._next_sweep = (
                    time.monotonic()
                )  # a process that was killed left more than one sweep takes
            if not self._waiting:
                connection.close()  # idle: give it back

    def _take(self) -> list[int]:
        """The next stretch: one event at least."""
        ids: list[int] = []
        with self._changed:
            room = _STRETCH_BYTES
            while self._waiting and len(ids) < _STRETCH and (not ids or self._waiting[0][1] <= room):
                pk, size = self._waiting.popleft()
                ids.append(pk)
                room -= size
        return ids


def _relax() -> None:
    """Let this thread's SQLite commit without waiting for the disk: a power cut costs what the journal still has."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=NORMAL")


def try_all(ids: Sequence[int]) -> list[tuple[int, str]]:
    """Apply NEW events in this order, plain ones together; (id, note) of those that were applied.

    One that fails (which is then recorded) does the others no harm: they are applied, each at its place.
    """
    marks = []
    for run in stretches.runs(_new(ids)):
        notes = _together(run)
        for said in run:
            # What may touch anything may have touched the instance: a row that was read before is not good enough.
            pk = said.row.pk
            note = notes.get(pk) or (try_one(pk) if said.cuts else _try(said.row))
            marks += [(pk, note)] if note is not None else []
    return marks


def _together(run: Sequence[stretches.Said]) -> dict[int, str]:
    """The notes of what could be applied in one transaction; of nothing when that failed: each may be tried alone."""
    try:
        return together.apply(run)
    except Exception as error:
        if isinstance(error, DatabaseError):
            connection.close()
        logger.warning(
            "inbound: webhooks could not be applied together, each is tried alone",
            extra={"events": len(run), **_described(error)},
        )
        return {}


def _new(ids: Sequence[int]) -> list[WebhookEvent]:
    """The events that are still NEW, in the order of the ids, with instances that keep their secrets to themselves."""
    rows = WebhookEvent.objects.select_related("instance").defer(
        "instance__api_key", "instance__webhook_secret", "instance__qr"
    )
    found = {row.pk: row for row in rows.filter(pk__in=ids, state=State.NEW)}
    return [found[pk] for pk in ids if pk in found]


def try_one(pk: int) -> str | None:
    """Apply a NEW event; its note, or None when it is not NEW any more or failed (which is then recorded)."""
    row = next(iter(_new([pk])), None)
    return None if row is None else _try(row)


def _try(row: WebhookEvent) -> str | None:
    try:
        return inbound.apply(row)
    except Exception as error:
        _record_failure(row, error)
        return None


def mark_done(marks: Iterable[tuple[int, str]]) -> None:
    """Record what became of applied events."""
    by_note: defaultdict[str, list[int]] = defaultdict(list)
    for pk, note in marks:
        by_note[note].append(pk)
    for note, ids in by_note.items():
        ignored = note.startswith(inbound.IGNORED)
        state = State.IGNORED if ignored else State.APPLIED
        rows = WebhookEvent.objects.filter(pk__in=ids, state=State.NEW)
        changed = rows.update(state=state, applied_at=Now(), note=note)
        _APPLIED.labels("ignored" if ignored else "applied").inc(changed)


def is_later(event: str) -> bool:
    """May this webhook wait for others? By its name as the journal has it."""
    return event_name(event) in inbound.LATER


def sweep_once(limit: int = 200, *, later: bool | None = None) -> int:
    """Apply NEW events that nobody holds: left over by a process that was killed, or failed and due again.

    Any number of processes may call it: an event is taken by a conditional update, and applying twice does no
    harm.

    Args:
        later: only what may wait, or only what may not; None for both.

    Returns:
        How many were applied.
    """
    due = _due()
    if later is not None:
        waits = Q(event__in=_LATER_NAMES)
        due &= waits if later else ~waits
    ids = list(
        WebhookEvent.objects.filter(due, state=State.NEW).order_by("id").values_list("id", flat=True)[:limit]
    )
    marks = []
    for pk in ids:
        if WebhookEvent.objects.filter(due, pk=pk, state=State.NEW).update(applied_at=Now()):
            note = try_one(pk)
            if note is not None:
                marks.append((pk, note))
    mark_done(marks)
    return len(marks)


def _due() -> Q:
    """Which NEW events a sweep may take, by the database's clock."""
    orphaned = Q(tries=0, applied_at__isnull=True, received_at__lte=Now() - _ORPHANED)
    last = len(_PAUSES) - 1
    paused = [Q(tries=tries, applied_at__lte=Now() - pause) for tries, pause in enumerate(_PAUSES)]
    return reduce(or_, paused, orphaned) | Q(tries__gt=last, applied_at__lte=Now() - _PAUSES[last])


def _record_failure(row: WebhookEvent, error: Exception) -> None:
    """Count the try. While the database is at fault the event is tried for as long as it takes."""
    transient = isinstance(error, OperationalError | InterfaceError)
    if isinstance(error, DatabaseError):
        connection.close()
    failed = row.tries + 1 >= TRIES and not transient
    WebhookEvent.objects.filter(pk=row.pk, state=State.NEW).update(
        tries=min(row.tries + 1, _MOST_TRIES),
        applied_at=Now(),
        note=type(error).__name__[:200],
        state=State.FAILED if failed else State.NEW,
    )
    _APPLIED.labels("failed" if failed else "retried").inc()
    level = logging.ERROR if failed else logging.WARNING
    text = "inbound: a webhook could not be applied" + ("" if failed else ", it is tried again")
    logger.log(
        level,
        text,
        extra={"event_id": row.pk, "event": row.event, "tries": row.tries + 1, **_described(error)},
    )


def _described(error: Exception) -> dict[str, str]:
    """Which error, where; never its text, which may quote a message."""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((frame for frame in reversed(frames) if "/apps/" in frame.filename), None)
    place = f"{where.filename.rpartition('/apps/')[2]}:{where.lineno}" if where else ""
    return {"error": type(error).__name__, "where": place}
