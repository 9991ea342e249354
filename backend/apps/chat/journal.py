"""The journal: raw webhook events are stored before they are answered, then applied.

What arrives while a batch commits forms the next batch (group commit), so that a flood costs one INSERT per
batch and a lone event waits for nothing but its own commit. Three threads per process, each with its own
database connection: one stores, one applies (`inbound.applier`), and one applies what may wait: old messages
and address books after pairing. They start with the first event, and anew
after a fork.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, connection
from django.db.models.functions import Now
from prometheus_client import Counter

from apps.chat.inbound.applier import Applier, is_later, sweep_once
from apps.chat.models import WebhookEvent

__all__ = ["Entry", "NotStored", "drain", "start", "stop", "store", "sweep_once"]

logger = logging.getLogger(__name__)

BATCH: Final = 256
MOST_WAITING: Final = 4096
MOST_WAITING_BYTES: Final = 256 * 1024 * 1024
IDLE_SECONDS: Final = 10.0
_TRIES: Final = 3

_STORED = Counter("chat_webhook_stored", "Webhooks journalled, or not, by outcome.", ["outcome"])


class NotStored(Exception):
    """The event is not in the database: answer 5xx, and Evolution sends it again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it will be journalled.

    `settled` is the note of an event from which nothing follows: it is stored as ignored and never applied.
    `size` in bytes counts against what may wait in memory.
    """

    instance_id: UUID
    event: str
    body: dict[str, object]
    settled: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: Entry
    future: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop

    def answer(self, result: int | NotStored) -> None:
        # A closed loop raises: then nobody waits for the answer.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_resolve, self.future, result)


class Writer:
    """The storing thread. `on_stored` is called with committed events that are to be applied, and their ids."""

    def __init__(self, on_stored: Callable[[list[tuple[int, Entry]]], None]) -> None:
        self._on_stored = on_stored
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._busy = False
        self._stopping = False
        self._away_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="chat-journal", daemon=True)
        self._thread.start()

    def put(self, waiting: _Waiting) -> None:
        """Queue an event; raises NotStored when too much waits already."""
        with self._changed:
            full = len(self._waiting) >= MOST_WAITING or self._bytes + waiting.entry.size > MOST_WAITING_BYTES
            if self._stopping or full:
                raise NotStored("too much is waiting to be stored")
            self._waiting.append(waiting)
            self._bytes += waiting.entry.size
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until all that was put is stored or refused; False when `timeout` seconds were too short."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def stop(self, timeout: float) -> None:
        """Store what was put, then end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while batch := self._take():
            try:
                ids = _insert([waiting.entry for waiting in batch])
            except Exception as error:
                self._refuse(batch, error)
            else:
                self._accept(batch, ids)
        connection.close()

    def _take(self) -> list[_Waiting]:
        """The next batch; empty when it is time to end. An idle thread gives its connection back."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while not self._waiting and not self._stopping:
                if not self._changed.wait(IDLE_SECONDS):
                    connection.close()
            self._busy = True
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            self._bytes -= sum(waiting.entry.size for waiting in batch)
            return batch

    def _accept(self, batch: Sequence[_Waiting], ids: Sequence[int]) -> None:
        for waiting, pk in zip(batch, ids, strict=True):
            waiting.answer(pk)
        _STORED.labels("stored").inc(len(batch))
        pairs = zip(batch, ids, strict=True)
        self._on_stored([(pk, one.entry) for one, pk in pairs if one.entry.settled is None])
        if self._away_since is not None:
            seconds = round(time.monotonic() - self._away_since, 1)
            logger.warning("journal: webhooks are stored again", extra={"seconds": seconds})
            self._away_since = None

    def _refuse(self, batch: Sequence[_Waiting], error: Exception) -> None:
        connection.close()
        if len(batch) > 1 and isinstance(error, DataError | IntegrityError):
            self._one_by_one(batch)
            return
        for waiting in batch:
            waiting.answer(NotStored(type(error).__name__))
        _STORED.labels("refused").inc(len(batch))
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.error("journal: webhooks cannot be stored", extra={"error": type(error).__name__})

    def _one_by_one(self, batch: Sequence[_Waiting]) -> None:
        """One event that the database refuses must not take the others with it."""
        for waiting in batch:
            try:
                ids = _insert([waiting.entry])
            except Exception as error:
                self._refuse([waiting], error)
            else:
                self._accept([waiting], ids)


def _insert(entries: Sequence[Entry]) -> list[int]:
    """Commit the entries. A connection that died is replaced, which may store them twice and does no harm."""
    for left in reversed(range(_TRIES)):
        try:
            return [row.pk for row in WebhookEvent.objects.bulk_create([_row(entry) for entry in entries])]
        except (DataError, IntegrityError):
            raise
        except DatabaseError:
            connection.close()
            if not left:
                raise
    raise AssertionError("unreachable")


def _row(entry: Entry) -> WebhookEvent:
    row = WebhookEvent(instance_id=entry.instance_id, event=entry.event[:60], body=entry.body)
    if entry.settled is not None:
        row.state, row.note, row.applied_at = WebhookEvent.State.IGNORED, entry.settled, Now()
    return row


def _resolve(future: asyncio.Future[int], result: int | NotStored) -> None:
    if future.done():
        return
    if isinstance(result, NotStored):
        future.set_exception(result)
    else:
        future.set_result(result)


# --- this process's threads -----------------------------------------------------------------------


class _Parts:
    def __init__(self) -> None:
        self.applier = Applier()
        self.later = Applier(later=True)
        self.writer = Writer(self._stored)

    def _stored(self, rows: list[tuple[int, Entry]]) -> None:
        """What came after pairing waits in a queue of its own, so that nothing that happens now waits for it."""
        for applier in (self.applier, self.later):
            if mine := [(pk, entry.size) for pk, entry in rows if is_later(entry.event) == applier.later]:
                applier.put(mine)


_lock = threading.Lock()
_parts: _Parts | None = None


def start() -> None:
    """Start storing, applying and the sweep for what a former process left; `store` does it by itself."""
    _running()


async def store(entry: Entry) -> int:
    """Journal an event; returns its id once that is committed.

    Raises:
        NotStored: it is not (or not surely) in the database.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    _running().writer.put(_Waiting(entry, future, loop))
    return await future


def drain(timeout: float) -> bool:
    """Wait until all that was journalled here was tried once; False when `timeout` seconds were too short."""
    parts = _parts
    if parts is None:
        return True
    deadline = time.monotonic() + timeout
    appliers = (parts.applier, parts.later)
    stored = parts.writer.wait_idle(timeout)
    return stored and all(one.wait_idle(max(0.0, deadline - time.monotonic())) for one in appliers)


def stop(timeout: float = 5.0) -> None:
    """Finish what was begun, within `timeout` seconds, and end the threads. A later `store` starts anew."""
    global _parts
    with _lock:
        parts, _parts = _parts, None
    if parts is not None:
        deadline = time.monotonic() + timeout
        parts.writer.stop(timeout)
        for applier in (parts.applier, parts.later):
            applier.stop(max(0.0, deadline - time.monotonic()))


def _running() -> _Parts:
    global _parts
    parts = _parts
    if parts is None:
        with _lock:
            parts = _parts = _parts or _Parts()
    return parts


def _after_fork() -> None:
    """A child has neither its parent's threads nor the right to what they hold."""
    global _lock, _parts
    _lock, _parts = threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)
atexit.register(stop, 2.0)
