"""The workers of the Redis lists: one loop per list, none of them blocking the event loop or each other.

`chat:queue:send_message` carries wake-ups only: the row decides, and an item that is lost costs time. The other lists
carry requests for a contact's picture, name or group card: each is tried a bounded number of times, then buried.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from uuid import UUID

from django.conf import settings

from apps.chat import journal, redis_queue, redis_streams
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.presence import process_name
from apps.chat.enrichment import jobs
from apps.chat.enrichment.errors import EnrichmentError, GivenUp, NotNow
from apps.chat.enrichment.items import Item, garbage_letter, pause_after
from apps.chat.errors import QueueAway
from apps.chat.list_loops import ListLoop
from apps.chat.redis_clients import TROUBLE, close_async_clients, say_if_it_evicts
from apps.chat.redis_hands import bury, note_asked
from apps.chat.redis_queue import QUEUES, REDIS_QUEUE_SEND_MESSAGE, short_name
from apps.chat.redis_streams import Garbage, WakeUp
from apps.chat.stream_consumer import find_places, process_mark_as_read_worker, supervise

logger = logging.getLogger(__name__)

JOB_SECONDS = 90.0


class SendListWorker(ListLoop):
    """Drains `chat:queue:send_message` into the delivery engine, whichever transport is configured."""

    def __init__(self, engine: Engine, consumer: str | None = None) -> None:
        super().__init__(REDIS_QUEUE_SEND_MESSAGE, consumer or f"{process_name()}-list")
        self._engine = engine
        self._runner = engine.new_runner(self.finished)

    @property
    def room(self) -> int:
        return self._runner.room

    async def start(self, texts: Sequence[str], stop: asyncio.Event) -> None:
        wake_ups: list[tuple[str, WakeUp]] = []
        for text in texts:
            try:
                wake_ups.append((text, redis_streams.decode_wake_up(text)))
            except Garbage as problem:
                await self._bury(text, str(problem))
        unknown = [
            w.message_id for _, w in wake_ups if w.message_id and not (w.conversation_id and w.instance_id)
        ]
        places = await find_places(self._engine, unknown, stop) if unknown else {}
        if places is None:  # told to stop: they are given back
            return
        for text, wake_up in wake_ups:
            self._add(text, wake_up, places)

    def _add(self, text: str, wake_up: WakeUp, places: dict[UUID, tuple[UUID, UUID]]) -> None:
        conversation, instance = wake_up.conversation_id, wake_up.instance_id
        if wake_up.message_id in places:
            conversation, instance = places[wake_up.message_id]
        if conversation is None or instance is None:  # no such message (any more): nothing to do
            self.finished([text])
            return
        self._runner.add(conversation, instance, [text])

    async def _bury(self, text: str, reason: str) -> None:
        logger.warning("garbage on a list", extra={"queue": self.queue, "reason": reason})
        try:
            await redis_streams.push_to_dead_letter(self.queue, "garbage", detail=reason, size=len(text))
        except QueueAway:
            self.forget(text)
        else:
            self.finished([text])

    async def return_from(self, consumer: str, text: str) -> bool:
        return await self.hands.give_back_of(consumer, text, text, 0)

    async def finish(self) -> None:
        await self._runner.stop(settings.CHAT_DRAIN_SECONDS)


class JobWorker(ListLoop):
    """Works a list of requests, CHAT_LIST_CONCURRENCY at a time."""

    def __init__(self, queue: str, consumer: str) -> None:
        super().__init__(queue, consumer)
        self._kind = jobs.KIND_OF[queue]
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        return int(settings.CHAT_LIST_CONCURRENCY) - len(self._tasks)

    async def start(self, texts: Sequence[str], stop: asyncio.Event) -> None:
        for text in texts:
            task = asyncio.create_task(self._work(text), name=f"{self._kind} job")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=settings.CHAT_DRAIN_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=5)

    async def return_from(self, consumer: str, text: str) -> bool:
        """Its consumer died over it, perhaps because of it: the first time it goes to the front, then it waits."""
        try:
            item = Item.read(text).tried("worker_died")
        except (ValueError, RecursionError):
            return await self.hands.give_back_of(consumer, text, text, 0)
        if item.tries >= settings.CHAT_LIST_MAX_RETRIES:
            await bury(item.letter(self.queue))
            await self.hands.drop_of(consumer, text)
            return True
        pause = 0.0 if item.tries == 1 else pause_after(item.tries)
        return await self.hands.give_back_of(consumer, text, item.text(), pause)

    # --- one item ---------------------------------------------------------------------------------

    async def _work(self, text: str) -> None:
        try:
            await self._conclude(text)
        except TROUBLE as error:  # Redis is away: the item is in our hand, and found there
            redis_queue.outage.failed(error)
            self.forget(text)

    async def _conclude(self, text: str) -> None:
        try:
            item = Item.read(text)
        except (ValueError, RecursionError):
            logger.warning("garbage on a list", extra={"queue": self.queue})
            await self._bury(text, None)
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(JOB_SECONDS):
                outcome = await jobs.work(self._kind, item.payload, had_turn=item.turn)
        except NotNow as problem:
            await self._wait(text, item, problem)
        except Exception as error:  # whatever it was, the item is tried again or buried, and the loop lives
            await self._failed(text, item, error)
        else:
            self.finished([text])
            await note_asked(self.queue, item.wish, done=True)
            self._log(logging.INFO, "asked Evolution", item, outcome, began)

    async def _wait(self, text: str, item: Item, problem: NotNow) -> None:
        waiting = item.waiting(problem.reason, turn=problem.turn)
        if waiting.age > settings.CHAT_LIST_GIVE_UP_SECONDS:
            await self._bury(text, waiting)
            return
        await self.hands.put_off(text, waiting.text(), problem.seconds)
        self.gone(text)

    async def _failed(self, text: str, item: Item, error: Exception) -> None:
        reason = error.reason if isinstance(error, EnrichmentError) else type(error).__name__
        tried = item.tried(reason)
        if isinstance(error, GivenUp) or tried.tries >= settings.CHAT_LIST_MAX_RETRIES:
            await self._bury(text, tried)
            return
        self._log(logging.INFO, "asking Evolution failed, again later", tried, reason)
        await self.hands.put_off(text, tried.text(), pause_after(tried.tries))
        self.gone(text)

    async def _bury(self, text: str, item: Item | None) -> None:
        letter = item.letter(self.queue) if item else garbage_letter(self.queue, text)
        await self.hands.bury(text, letter)
        self.gone(text)
        jobs.told(self._kind, "dead")
        if item is not None:
            await note_asked(self.queue, item.wish, done=False)
            self._log(logging.WARNING, "asking Evolution given up", item, item.reason)

    def _log(self, level: int, what: str, item: Item, outcome: str, began: float | None = None) -> None:
        extra = {"kind": self._kind, **item.wish, "outcome": outcome, "tries": item.tries}
        if began is not None:
            extra["ms"] = round((time.monotonic() - began) * 1000)
        logger.log(level, what, extra=extra)


async def start_redis_consumers(
    *,
    queues: Collection[str] = QUEUES,
    engine: Engine | None = None,
    stop: asyncio.Event | None = None,
    ready: asyncio.Event | None = None,
) -> None:
    """Run one loop per list until `stop`; with an engine of its own, if one is needed, unless one is given.

    Args:
        queues: the lists to work, all by default.
        ready: set once all loops are about to read.
    """
    stop = stop or asyncio.Event()
    if engine is not None:
        await _run(queues, engine, stop, ready)
    elif REDIS_QUEUE_SEND_MESSAGE in queues:
        async with Engine() as own:
            journal.start()  # events that a killed web process had stored but not applied
            await _run(queues, own, stop, ready, alone=True)
        await close_async_clients()
    else:
        await _run(queues, None, stop, ready)
        await close_async_clients()


async def _run(
    queues: Collection[str],
    engine: Engine | None,
    stop: asyncio.Event,
    ready: asyncio.Event | None,
    *,
    alone: bool = False,
) -> None:
    name = f"{engine.presence.name if engine else process_name()}-list"
    workers = [JobWorker(queue, name).run(stop) for queue in queues if queue in jobs.KIND_OF]
    if engine is not None and REDIS_QUEUE_SEND_MESSAGE in queues:
        workers.append(SendListWorker(engine, name).run(stop))
        if alone and settings.CHAT_SEND_TRANSPORT == "list":  # there may be no stream worker at all
            workers.append(process_mark_as_read_worker(engine=engine, stop=stop))
    logger.info("list consumers ready", extra={"worker": name, "lists": [short_name(one) for one in queues]})
    if ready is not None:
        ready.set()
    await say_if_it_evicts(settings.CHAT_QUEUE_REDIS_URL)
    async with jobs.client_kept_open():
        await supervise(workers, stop)
