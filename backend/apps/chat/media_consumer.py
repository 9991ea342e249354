"""The loop over due attachments: woken by RabbitMQ when there is one, and by the database always.

Both ways lead to the same place, `Fetcher.process`, which takes a row that is due and nobody's; so a message that was
lost, doubled or came too early changes nothing. The sweep leaves fresh rows to the queue for a moment while the broker
answers, and takes them at once when it does not, or when there is none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from apps.chat import media_queue, uploads
from apps.chat.evolution.client import EvolutionClient, Timeouts
from apps.chat.media import claims, store, wake
from apps.chat.media.errors import StorageAway
from apps.chat.media.incoming import Fetcher, with_connection
from apps.chat.media.rooms import Rooms
from apps.chat.stream_consumer import supervise

logger = logging.getLogger(__name__)

# How long the queue has to bring a due row before the sweep takes it.
HEAD_START_SECONDS: Final = 10.0
SWEPT_AT_ONCE: Final = 100
# Messages in hand for each place: some may be of a number that has no room.
PREFETCHED: Final = 4
TIDY_SECONDS: Final = 3600.0
T = TypeVar("T")


class MediaWorker:
    """Processes attachments, `concurrency` at a time."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._threads = ThreadPoolExecutor(concurrency + 2, thread_name_prefix="chat-media")
        self._client = EvolutionClient(timeouts=Timeouts(media=settings.CHAT_MEDIA_TIMEOUT_SECONDS))
        self._fetcher = Fetcher(self._client, self._threads)
        self._rooms = Rooms(concurrency)
        self._working: dict[UUID, asyncio.Task[float | None]] = {}
        self._loop = asyncio.get_running_loop()
        self._nudged, self._stop = asyncio.Event(), asyncio.Event()
        self._consumer = (
            media_queue.Consumer(self._look, PREFETCHED * concurrency) if media_queue.configured() else None
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what is in hand within CHAT_DRAIN_SECONDS and give back the rest."""
        self._stop = stop
        wake.listen(self._nudge)
        loops = [self._sweep(stop), self._tidy(stop)]
        if self._consumer is not None:
            loops.append(self._consumer.run(stop))
        try:
            await supervise(loops, stop)
        finally:
            wake.unlisten(self._nudge)
            await self._finish()

    async def _look(self, attachment_id: UUID) -> None:
        """The queue names an attachment: process it if it is due."""
        instance = await self._on_thread(lambda: claims.instance_of(attachment_id))
        task = self._working.get(attachment_id) or await self._start(attachment_id, instance)
        if task is None:
            raise media_queue.NotTaken
        again = await asyncio.shield(task)
        if again is not None and self._consumer is not None:
            await self._consumer.publish_later(attachment_id, again)

    async def _start(self, attachment_id: UUID, instance: UUID | None) -> asyncio.Task[float | None] | None:
        """Process it in a task of its own as soon as there is room; None when we were told to stop meanwhile."""
        await self._rooms.enter(instance)
        if self._stop.is_set():
            await self._rooms.leave(instance)
            return None
        task = asyncio.create_task(self._process(attachment_id, instance), name="media")
        self._working[attachment_id] = task
        task.add_done_callback(partial(self._ended, attachment_id))
        return task

    def _ended(self, attachment_id: UUID, task: asyncio.Task[float | None]) -> None:
        if self._working.get(attachment_id) is task:
            del self._working[attachment_id]
        self._nudged.set()  # there is room for the next

    async def _process(self, attachment_id: UUID, instance: UUID | None) -> float | None:
        """In how many seconds it should be looked at again, None when that is not needed."""
        try:
            return await self._fetcher.process(attachment_id)
        except DatabaseError as error:
            logger.warning("media: database away", extra={"error": type(error).__name__})
        except Exception as error:  # the loop must live; the lease ends and the row is tried again
            logger.exception(
                "media: a defect", extra={"attachment": str(attachment_id), "error": type(error).__name__}
            )
        finally:
            await asyncio.shield(self._rooms.leave(instance))
        return claims.LEASE.total_seconds()

    # --- the sweep --------------------------------------------------------------------------------

    def _nudge(self, attachment_id: UUID) -> None:
        """A row of this process is due, from whatever thread says so."""
        with suppress(RuntimeError):  # the loop has just been closed
            self._loop.call_soon_threadsafe(self._nudged.set)

    async def _sweep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for attachment_id, instance in await self._due():
                if stop.is_set():
                    break
                if attachment_id not in self._working and instance not in self._rooms.full():
                    await self._start(attachment_id, instance)
            await self._pause(stop)

    async def _pause(self, stop: asyncio.Event) -> None:
        """Until the next round: soon when somebody nudges, at once at `stop`."""
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._nudged.wait())]
        _, left = await asyncio.wait(
            waits, timeout=settings.CHAT_MEDIA_SWEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for task in left:
            task.cancel()
        self._nudged.clear()

    async def _due(self) -> Sequence[tuple[UUID, UUID]]:
        """What to take now. With a queue that brings fresh rows, only those that waited longer than it should take."""
        queue_works = self._consumer is not None and self._consumer.reading.is_set()
        overdue_by, full = HEAD_START_SECONDS if queue_works else 0.0, self._rooms.full()
        try:
            return await self._on_thread(lambda: claims.due(SWEPT_AT_ONCE, overdue_by, full))
        except DatabaseError as error:
            logger.warning("media: no sweep", extra={"error": type(error).__name__})
            return []

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._threads, lambda: with_connection(work))

    async def _tidy(self, stop: asyncio.Event) -> None:
        """Now and then remove what killed processes left half-written, and uploads that no message took."""
        due_at = time.monotonic()
        while not stop.is_set():
            if time.monotonic() >= due_at:
                due_at = time.monotonic() + TIDY_SECONDS
                with suppress(StorageAway, OSError):
                    await self._loop.run_in_executor(self._threads, store.remove_left_over)
                with suppress(DatabaseError):
                    await self._on_thread(uploads.forget_unused)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 60)

    # --- the end ----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        left = list(self._working.values())
        if left:
            await asyncio.wait(left, timeout=settings.CHAT_DRAIN_SECONDS)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.settle(1.0)
        await self._client.aclose()
        self._threads.shutdown(wait=True, cancel_futures=True)


async def start_media_consumers(
    *, concurrency: int | None = None, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None
) -> None:
    """Process attachments until `stop`; `concurrency` defaults to CHAT_MEDIA_CONCURRENCY."""
    stop = stop or asyncio.Event()
    worker = MediaWorker(concurrency or settings.CHAT_MEDIA_CONCURRENCY)
    transport = "rabbitmq" if media_queue.configured() else "database"
    logger.info("media worker ready", extra={"transport": transport})
    if ready is not None:
        ready.set()
    await worker.run(stop)
