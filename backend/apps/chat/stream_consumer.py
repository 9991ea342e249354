"""The loops over the Redis streams: read, hand to the delivery engine, acknowledge.

A send worker reads wake-ups into its `LaneRunner` as long as there is room; entries are acknowledged (and deleted) in
batches when the runner gives them back. XAUTOCLAIM runs on a timer of its own. A mark-as-read worker coalesces what it
reads per conversation into one call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.chat import journal
from apps.chat import redis_streams as streams
from apps.chat.delivery import failpoints
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.presence import process_name
from apps.chat.delivery.runner import LaneRunner
from apps.chat.errors import QueueAway
from apps.chat.healer import Healer
from apps.chat.models import Message
from apps.chat.read_receipts import ReadReceipts
from apps.chat.redis_clients import TROUBLE, close_async_clients, say_if_it_evicts
from apps.chat.redis_streams import Entry, Garbage, WakeUp
from apps.chat.stream_readers import Acknowledger, StreamReader, bury
from apps.chat.upkeep import run as keep_up

logger = logging.getLogger(__name__)

READ_AT_ONCE = 256
LOOK_UP_PAUSE_SECONDS = 1.0
REMOVE_CONSUMERS_IDLE_MS = 600_000


def _raise_if_dead(*tasks: asyncio.Task[None]) -> None:
    """A side task that died of an error takes its worker with it: half a worker looks alive."""
    for task in tasks:
        if task.done():
            task.result()


class SendWorker:
    """One consumer of the send stream with its own lanes."""

    def __init__(self, engine: Engine, consumer: str) -> None:
        self._engine = engine
        self._stream = settings.CHAT_STREAM_SEND_NAME
        self._reader = StreamReader(self._stream, consumer)
        self._acknowledge = Acknowledger(self._stream)
        self._runner: LaneRunner = engine.new_runner(self._done)
        self._held: dict[str, Entry] = {}
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Read until told to stop, then give back what is left."""
        self._stop = stop
        acknowledging = asyncio.create_task(self._acknowledge.run())
        reclaiming = asyncio.create_task(self._reclaim_now_and_then(stop))
        try:
            while not stop.is_set():
                _raise_if_dead(acknowledging, reclaiming)
                room = min(self._runner.room, READ_AT_ONCE)
                if room == 0:
                    await asyncio.sleep(0.01)
                    continue
                entries = await self._reader.read(room)
                if entries:
                    failpoints.hit("read")
                await self._take(entries)
            await reclaiming  # it hears the same stop; cut off, what it had claimed would stay pending
            await self._runner.stop(settings.CHAT_DRAIN_SECONDS)
        finally:
            reclaiming.cancel()
            self._acknowledge.stop()
            await asyncio.wait([acknowledging])
            await self._leave()

    def _done(self, entry_ids: list[str]) -> None:
        for entry_id in entry_ids:
            self._held.pop(entry_id, None)
        self._acknowledge(entry_ids)

    async def _leave(self) -> None:
        left = [self._held[token] for token in self._runner.leftovers() if token in self._held]
        with suppress(*TROUBLE):
            await streams.give_back(self._stream, left)
        await self._reader.leave()

    async def _reclaim_now_and_then(self, stop: asyncio.Event) -> None:
        pause = max(settings.CHAT_STREAM_RECLAIM_IDLE_MS / 4000, 0.25)
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
                return
            await self._take(await self._reader.reclaim(max(self._runner.room, 1)))
            with suppress(*TROUBLE):
                await streams.remove_idle_consumers(self._stream, REMOVE_CONSUMERS_IDLE_MS)

    async def _take(self, entries: Sequence[Entry]) -> None:
        wake_ups: list[tuple[Entry, WakeUp]] = []
        for entry in entries:
            try:
                wake_ups.append((entry, streams.decode_wake_up(entry.payload)))
            except Garbage as error:
                await bury(self._stream, entry, str(error))
        places = await self._look_up(wake_up for _, wake_up in wake_ups)
        if places is None:
            with suppress(*TROUBLE):
                await streams.give_back(self._stream, [entry for entry, _ in wake_ups])
            return
        for entry, wake_up in wake_ups:
            self._add(entry, wake_up, places)

    async def _look_up(self, wake_ups: Iterable[WakeUp]) -> dict[UUID, tuple[UUID, UUID]] | None:
        """Conversation and instance of messages whose entry does not name them; None: told to stop meanwhile."""
        unknown = [
            w.message_id for w in wake_ups if w.message_id and not (w.conversation_id and w.instance_id)
        ]
        return await find_places(self._engine, unknown, self._stop) if unknown else {}

    def _add(self, entry: Entry, wake_up: WakeUp, places: dict[UUID, tuple[UUID, UUID]]) -> None:
        conversation, instance = wake_up.conversation_id, wake_up.instance_id
        if wake_up.message_id in places:
            conversation, instance = places[wake_up.message_id]
        if conversation is None:  # a message that is not (or no longer) in the database: nothing to do
            self._acknowledge([entry.id])
            return
        self._held[entry.id] = entry
        self._runner.add(conversation, instance, [entry.id])


async def find_places(
    engine: Engine, message_ids: Sequence[UUID], stop: asyncio.Event
) -> dict[UUID, tuple[UUID, UUID]] | None:
    """message -> (conversation, instance), tried again while the database is away; None when `stop` came first."""
    while True:
        try:
            return await engine.database.call(lambda: _places(message_ids))
        except Exception as error:  # the database is away; the entries stay pending
            logger.warning("look-up again", extra={"error": type(error).__name__})
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_UP_PAUSE_SECONDS)
                return None


def _places(message_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, UUID]]:
    rows = Message.objects.filter(pk__in=message_ids).values_list("id", "conversation_id", "instance_id")
    return {message: (conversation, instance) for message, conversation, instance in rows}


class MarkReadWorker:
    """One consumer of the mark-as-read stream."""

    def __init__(self, engine: Engine, consumer: str) -> None:
        self._stream = settings.CHAT_STREAM_MARK_READ_NAME
        self._reader = StreamReader(self._stream, consumer)
        self._receipts = ReadReceipts(engine)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until told to stop."""
        reclaim_at = 0.0
        pause = max(settings.CHAT_STREAM_RECLAIM_IDLE_MS / 4000, 0.25)
        loop = asyncio.get_running_loop()
        try:
            while not stop.is_set():
                if loop.time() >= reclaim_at:
                    reclaim_at = loop.time() + pause
                    await self._work(await self._reader.reclaim(READ_AT_ONCE))
                await self._work(await self._reader.read(READ_AT_ONCE))
        finally:
            await self._reader.leave()

    async def _work(self, entries: Sequence[Entry]) -> None:
        marks: dict[UUID, list[tuple[Entry, UUID]]] = {}
        for entry in entries:
            try:
                mark = streams.decode_read_mark(entry.payload)
            except Garbage as error:
                await bury(self._stream, entry, str(error))
                continue
            marks.setdefault(mark.conversation_id, []).append((entry, mark.message_id))
        await asyncio.gather(*(self._one(conversation, items) for conversation, items in marks.items()))

    async def _one(self, conversation_id: UUID, items: Sequence[tuple[Entry, UUID]]) -> None:
        problem = await self._receipts.send(conversation_id, [message for _, message in items])
        for entry, message in items:
            if problem is not None and not problem.permanent and await self._may_try_again(entry):
                continue  # pending: it comes back through XAUTOCLAIM
            try:
                if problem is not None:
                    await streams.push_to_dead_letter(
                        self._stream, problem.reason, conversation=str(conversation_id), message=str(message)
                    )
                await streams.acknowledge(self._stream, [entry.id])
            except (*TROUBLE, QueueAway):
                continue

    async def _may_try_again(self, entry: Entry) -> bool:
        try:
            return await streams.deliveries_of(self._stream, entry.id) < settings.CHAT_STREAM_MAX_RETRIES
        except TROUBLE:
            return True


# --- putting workers together ---------------------------------------------------------------------


async def process_send_message_worker(
    consumer: str | None = None, *, engine: Engine | None = None, stop: asyncio.Event | None = None
) -> None:
    """One send worker until `stop` (default: for ever), with an engine of its own unless one is given."""
    await _one_worker(SendWorker, "send", consumer, engine, stop)


async def process_mark_as_read_worker(
    consumer: str | None = None, *, engine: Engine | None = None, stop: asyncio.Event | None = None
) -> None:
    """One mark-as-read worker until `stop` (default: for ever), with an engine of its own unless one is given."""
    await _one_worker(MarkReadWorker, "mark", consumer, engine, stop)


async def _one_worker(
    kind: type[SendWorker] | type[MarkReadWorker],
    label: str,
    consumer: str | None,
    engine: Engine | None,
    stop: asyncio.Event | None,
) -> None:
    stop = stop or asyncio.Event()
    if engine is not None:
        await kind(engine, consumer or f"{engine.presence.name}-{label}").run(stop)
        return
    await _setup_when_possible()
    async with Engine(consumer) as own:
        await kind(own, consumer or f"{own.presence.name}-{label}").run(stop)


async def start_stream_workers(
    send_workers: int = 3,
    mark_workers: int = 2,
    *,
    beside: Callable[[Engine, asyncio.Event], Coroutine[Any, Any, None]] | None = None,
    consumer_prefix: str | None = None,
    stop: asyncio.Event | None = None,
    ready: asyncio.Event | None = None,
) -> None:
    """Run the workers of this process until `stop` is set, then drain them.

    Args:
        send_workers, mark_workers: consumers of each stream; each send worker works CHAT_SEND_CONCURRENCY lanes.
        consumer_prefix: leads the consumers' names; default CHAT_STREAM_CONSUMER_NAME, else host-pid-boot.
        beside: another worker to run around the same engine, such as the lists' consumers.
        ready: set once all of them read.

    Raises:
        Exception: a worker died of an error it does not know; the others are stopped first.
    """
    stop = stop or asyncio.Event()
    name = process_name()
    prefix = consumer_prefix or settings.CHAT_STREAM_CONSUMER_NAME
    prefix = f"{prefix}-{name}" if prefix else name
    await _setup_when_possible()
    async with Engine(prefix) as engine:
        workers = [
            process_send_message_worker(f"{prefix}-send-{n}", engine=engine, stop=stop)
            for n in range(send_workers)
        ]
        workers += [
            process_mark_as_read_worker(f"{prefix}-mark-{n}", engine=engine, stop=stop)
            for n in range(mark_workers)
        ]
        workers.append(Healer(engine.database, engine.client).run(stop))
        workers.append(keep_up(engine.database, stop))
        if beside is not None:
            workers.append(beside(engine, stop))
        logger.info(
            "stream workers ready", extra={"worker": prefix, "send": send_workers, "mark": mark_workers}
        )
        if ready is not None:
            ready.set()
        journal.start()  # events that a killed web process had stored but not applied
        await supervise(workers, stop)
    await close_async_clients()


async def _setup_when_possible() -> None:
    try:
        await streams.ensure_stream_setup()
    except TROUBLE as error:  # the sweeper works without it; the readers make the groups when it is back
        streams.outage.failed(error)
    else:
        await say_if_it_evicts(settings.CHAT_STREAM_REDIS_URL)


async def supervise(workers: Sequence[Any], stop: asyncio.Event) -> None:
    """Run coroutines until `stop`; when one dies, stop the others and raise its error."""
    tasks = [asyncio.create_task(worker) for worker in workers]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        stopped.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
