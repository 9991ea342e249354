"""Telling the browsers: `publish` hands an event to a background thread, which announces it through Redis.

`publish` may be called from views, threads and event loops alike: it never blocks, never raises and never
waits for Redis. Call it after commit (`transaction.on_commit`), or people see what may yet be rolled back.

While Redis is away events are dropped, since browsers fetch their state anew anyway; each tenant that lost
one is told `resync_required` as soon as Redis is back, under a number that leaves a gap, so that no resume
can skip over the loss.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from datetime import datetime
from typing import Any
from uuid import UUID

from alrea_sense.redis_url import address
from django.conf import settings
from prometheus_client import Counter
from redis import Redis
from redis.exceptions import NoScriptError

from apps.chat.outage import Outage
from apps.chat.realtime import events, log
from apps.chat.realtime.shapes import stamp
from apps.chat.redis_clients import TROUBLE, sync_client

logger = logging.getLogger(__name__)

QUEUE_SIZE = 20_000
BATCH = 256
RETRY_SECONDS = 1.0

_PUBLISHED = Counter("chat_realtime_events", "Events announced to browsers.")
_DROPPED = Counter("chat_realtime_events_dropped", "Events nobody was told of.")

Entry = tuple[str, dict[str, Any]]


class Publisher:
    """One process's queue of events and the thread that empties it."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Entry] = queue.Queue(QUEUE_SIZE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._url = ""
        self._redis: Redis | None = None
        self._seen: dict[str, int] = {}
        self._lost: set[str] = set()
        self._outage = Outage(logger, "Redis (realtime)", address(settings.CHANNELS_REDIS_URL))

    def put(self, tenant_id: str, event: dict[str, Any]) -> None:
        """Queue an event; a full queue drops it and remembers that the tenant lost one."""
        try:
            self._queue.put_nowait((tenant_id, event))
        except queue.Full:
            self._drop([(tenant_id, event)])
        if self._thread is None:
            self._start()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was queued is announced or dropped; False when `timeout` seconds did not do."""
        deadline = time.monotonic() + timeout
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._queue.all_tasks_done.wait(left)
        return True

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="chat-realtime", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch = self._take()
            try:
                self._announce(batch)
            except Exception:
                self._drop(batch)
                logger.exception("realtime: events dropped", extra={"events": len(batch)})
            for _ in batch:
                self._queue.task_done()

    def _take(self) -> list[Entry]:
        """What is waiting, up to a batch; empty when it is time to look whether Redis is back."""
        try:
            batch = [self._queue.get(timeout=RETRY_SECONDS if self._lost else None)]
        except queue.Empty:
            return []
        while len(batch) < BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _announce(self, batch: list[Entry]) -> None:
        lost = list(self._lost)
        notices: list[Entry] = [(tenant, {"type": events.RESYNC_REQUIRED}) for tenant in lost]
        try:
            self._send(notices, skip=1)
            self._lost.difference_update(lost)
            self._send(batch)
        except TROUBLE as problem:
            self._drop(batch)
            self._outage.failed(problem)
        else:
            self._outage.worked()
            _PUBLISHED.inc(len(batch))

    def _send(self, entries: list[Entry], *, skip: int = 0) -> None:
        if not entries:
            return
        calls = [self._arguments(tenant, event, skip) for tenant, event in entries]
        answers = self._pipeline(calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            self._client().script_load(log.PUBLISH)
            answers = self._pipeline(calls)
        for (tenant, _), answer in zip(entries, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            self._seen[tenant] = int(answer)

    def _pipeline(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        pipe = self._client().pipeline(transaction=False)
        for call in calls:
            pipe.evalsha(log.PUBLISH_SHA, 3, *call)
        return pipe.execute(raise_on_error=False)

    def _arguments(self, tenant: str, event: dict[str, Any], skip: int) -> tuple[Any, ...]:
        text = json.dumps(event, separators=(",", ":"), default=_plain)
        seen = self._seen.get(tenant, 0)
        lives = (settings.CHAT_REALTIME_KEEP, log.LOG_SECONDS, log.SEQ_SECONDS)
        return (*log.keys(tenant), text[1:], *lives, seen, skip)

    def _client(self) -> Redis:
        url = settings.CHANNELS_REDIS_URL
        if self._redis is None or url != self._url:
            self._redis = sync_client(url)
            self._url = url
            self._seen = {}
        return self._redis

    def _drop(self, batch: list[Entry]) -> None:
        self._lost.update(tenant for tenant, _ in batch)
        _DROPPED.inc(len(batch))


def _plain(value: object) -> str | None:
    """Times as everywhere in the API; ids as text."""
    return stamp(value) if isinstance(value, datetime) else str(value)


_publisher = Publisher()


def _after_fork() -> None:
    """A child has neither its parent's thread nor the right to its connections."""
    global _publisher
    _publisher = Publisher()


os.register_at_fork(after_in_child=_after_fork)


def publish(tenant_id: UUID | str, event: dict[str, Any]) -> None:
    """Tell everyone who watches this tenant. The event must not be changed afterwards."""
    _publisher.put(str(tenant_id), event)


def flush(timeout: float) -> bool:
    """Wait up to `timeout` seconds until what was published is out; for shutdown and tests."""
    return _publisher.flush(timeout)
