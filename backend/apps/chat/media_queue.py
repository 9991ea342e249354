"""RabbitMQ: the queue that wakes media workers. The only place that names exchanges and queues, or imports aio-pika.

    chat_process_incoming_media             durable, quorum; what it drops goes to the dead exchange
    chat_process_incoming_media.later.<s>   durable; a message stays s seconds, then returns to the queue above
    chat_process_incoming_media.dead        exchange and queue: garbage, and what was delivered too often

A message is persistent JSON of ids, `{"v": 1, "attachment_id": …, "message_id": …}`: a wake-up, never the truth. It is
published with confirms and `mandatory`. One thread with a loop of its own publishes for the whole process, so that
callers never wait; while the broker is away announcements are dropped, since workers look for due rows anyway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError, ConnectionInternalError
from alrea_sense.amqp_url import address
from django.conf import settings

from apps.chat.errors import QueueAway
from apps.chat.outage import Outage

logger = logging.getLogger(__name__)

QUEUE: Final = "chat_process_incoming_media"
DEAD: Final = f"{QUEUE}.dead"
LATER_SECONDS: Final = (2, 10, 60, 300)
DELIVERY_LIMIT: Final = 20
HEARTBEAT_SECONDS: Final = 10
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 4.0
WATCH_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = (0.5, 1.0, 2.0, 3.0)
BROKEN_TIMES: Final = 2
MOST_WAITING: Final = 10_000

TROUBLE: Final = (
    AMQPError,
    ChannelInvalidStateError,
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
    RuntimeError,
)
Handler = Callable[[UUID], Awaitable[None]]


class QueueBroken(ConnectionError):
    """RabbitMQ answers, but has of the queue no more than its name: it cannot be consumed from."""


class Garbage(ValueError):
    """A message that names no attachment."""


def configured() -> bool:
    """Is there a RabbitMQ?"""
    return bool(settings.RABBITMQ_URL)


def encode(attachment_id: UUID, message_id: UUID | None = None) -> bytes:
    """The body of a wake-up."""
    body = {
        "v": 1,
        "attachment_id": str(attachment_id),
        "message_id": str(message_id) if message_id else None,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def decode(body: bytes) -> UUID:
    """The attachment a wake-up names. Raises Garbage."""
    try:
        return UUID(json.loads(body)["attachment_id"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Garbage(type(error).__name__) from error


def later_queue(seconds: float) -> str:
    """The waiting queue whose time is at least `seconds`, or the longest."""
    fitting = next((span for span in LATER_SECONDS if span >= seconds), LATER_SECONDS[-1])
    return f"{QUEUE}.later.{fitting}"


class Link:
    """One connection and channel with everything declared. Never repaired: a broken one is replaced."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self.connection, self.channel = connection, channel
        self.queue: Any = None

    @classmethod
    async def open(cls, prefetch: int = 0) -> Link:
        """Connect and declare. Raises one of TROUBLE."""
        async with asyncio.timeout(CONNECT_SECONDS * 2):
            connection = await aio_pika.connect(
                settings.RABBITMQ_URL, timeout=CONNECT_SECONDS, heartbeat=HEARTBEAT_SECONDS
            )
            try:
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                link = cls(connection, channel)
                if prefetch:
                    await channel.set_qos(prefetch)
                await link._declare()
            except BaseException:
                await _close(connection)
                raise
            return link

    @property
    def usable(self) -> bool:
        return not (self.connection.is_closed or self.channel.is_closed)

    async def _declare(self) -> None:
        dead = await self.channel.declare_exchange(DEAD, aio_pika.ExchangeType.FANOUT, durable=True)
        dead_queue = await self.channel.declare_queue(
            DEAD, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 10_000}
        )
        await dead_queue.bind(dead)
        for seconds in LATER_SECONDS:
            await self.channel.declare_queue(
                f"{QUEUE}.later.{seconds}",
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-message-ttl": seconds * 1000,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": QUEUE,
                },
            )
        self.queue = await self.channel.declare_queue(
            QUEUE,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": DEAD,
                "x-delivery-limit": DELIVERY_LIMIT,
            },
        )

    async def publish(self, body: bytes, routing_key: str = QUEUE) -> None:
        """Hand a message to the broker and wait until it has it on disk. Raises one of TROUBLE."""
        message = aio_pika.Message(
            body, content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        exchange: AbstractExchange = self.channel.default_exchange
        await exchange.publish(message, routing_key, mandatory=True, timeout=ANSWER_SECONDS)

    @classmethod
    async def remove_queues(cls) -> None:
        """Delete the queues that hold wake-ups, and nothing else; `open` declares them. Raises one of TROUBLE."""
        async with asyncio.timeout(CONNECT_SECONDS + ANSWER_SECONDS):
            connection = await aio_pika.connect(settings.RABBITMQ_URL, timeout=CONNECT_SECONDS)
            try:
                channel = await connection.channel()
                for name in (QUEUE, *(f"{QUEUE}.later.{seconds}" for seconds in LATER_SECONDS)):
                    await channel.queue_delete(name)
            finally:
                await _close(connection)

    async def close(self) -> None:
        await _close(self.connection)


async def _close(connection: AbstractConnection) -> None:
    with suppress(*TROUBLE):
        await asyncio.wait_for(connection.close(), ANSWER_SECONDS)


# --- publishing -----------------------------------------------------------------------------------


class Publisher:
    """One process's thread that publishes, and answers questions about the queue."""

    def __init__(self) -> None:
        self.outage = Outage(logger, "RabbitMQ (publishing)", address(settings.RABBITMQ_URL), pause=2.0)
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._loop = asyncio.new_event_loop()
        self._wanted = asyncio.Event()
        self._link: Link | None = None
        self._lock = asyncio.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="chat-media-publisher", daemon=True)
        self._thread.start()

    def put(self, body: bytes) -> None:
        """Publish soon; dropped when too much waits or the broker is away."""
        self._waiting.append(body)
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._wanted.set)

    def ask(self, timeout: float) -> dict[str, int]:
        """Lengths and consumers of the queues. Raises QueueAway."""
        future = asyncio.run_coroutine_threadsafe(self._lengths(), self._loop)
        try:
            return future.result(timeout)
        except (*TROUBLE, TimeoutError) as error:
            future.cancel()
            raise QueueAway(f"RabbitMQ at {address(settings.RABBITMQ_URL)} does not answer") from error

    def stop(self, timeout: float) -> None:
        """Publish what waits, as far as the time allows, and end the thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(timeout)

    def _end(self) -> None:
        self._stopping = True
        self._wanted.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._publish_all())
        self._loop.close()

    async def _publish_all(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                await self._publish(self._waiting.popleft())
            if self._stopping:
                break
        if self._link is not None:
            await self._link.close()

    async def _publish(self, body: bytes) -> None:
        if not self.outage.worth_trying:
            return
        try:
            await (await self._linked()).publish(body)
        except TROUBLE as error:
            self.outage.failed(error)
            await self._unlink()
        else:
            self.outage.worked()

    async def _linked(self) -> Link:
        async with self._lock:
            if self._link is None or not self._link.usable:
                self._link = await Link.open()
            return self._link

    async def _unlink(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _lengths(self) -> dict[str, int]:
        """Asked on a channel of its own: a queue that is gone closes the channel it was asked on."""
        link = await self._linked()
        channel = await link.connection.channel()
        try:
            main = (await channel.declare_queue(QUEUE, passive=True)).declaration_result
            dead = (await channel.declare_queue(DEAD, passive=True)).declaration_result
        except TROUBLE:
            await self._unlink()  # a new link declares them anew
            raise
        finally:
            with suppress(*TROUBLE):
                await channel.close()
        return {
            "length": main.message_count or 0,
            "consumers": main.consumer_count or 0,
            "dead": dead.message_count or 0,
        }


_lock = threading.Lock()
_publisher: Publisher | None = None


def announce(attachment_id: UUID, message_id: UUID | None = None) -> None:
    """Publish a wake-up soon. Never blocks, never raises."""
    _running().put(encode(attachment_id, message_id))


def get_media_queue_metrics(timeout: float = 2.0) -> dict[str, int]:
    """`{length, consumers, dead}`: messages that wait, workers, dead letters.

    Raises:
        QueueAway: RabbitMQ does not answer.
    """
    return _running().ask(timeout)


def stop(timeout: float = 2.0) -> None:
    """Publish what waits and end the thread; a later `announce` starts anew."""
    global _publisher
    with _lock:
        publisher, _publisher = _publisher, None
    if publisher is not None:
        publisher.stop(timeout)


def _running() -> Publisher:
    global _publisher
    with _lock:
        if _publisher is None:
            _publisher = Publisher()
        return _publisher


def _after_fork() -> None:
    """A child has neither its parent's thread nor the right to its connection."""
    global _lock, _publisher
    _lock, _publisher = threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)


# --- consuming ------------------------------------------------------------------------------------


class Consumer:
    """Keeps one consumer on the queue for as long as it runs, whatever happens to broker, queue or consumer.

    Args:
        handle: looks at an attachment; a message is acknowledged when it returns, and given back when it raises.
        prefetch: messages in hand at most.
    """

    def __init__(self, handle: Handler, prefetch: int) -> None:
        self._handle, self._prefetch = handle, prefetch
        self._hands: set[asyncio.Task[None]] = set()
        self._cancelled = asyncio.Event()
        self._link: Link | None = None
        self._tag = ""
        self.outage = Outage(logger, "RabbitMQ (media)", address(settings.RABBITMQ_URL))
        self.reading = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`, then take nothing more; what is in hand ends with `settle`."""
        failures = broken = 0
        while not stop.is_set():
            try:
                await self._consume()
                failures = broken = 0
                await self._watch(stop)
            except TROUBLE as error:
                self.reading.clear()
                self.outage.failed(error)
                await self._drop()
                broken = broken + 1 if isinstance(error, QueueBroken) else 0
                if broken >= BROKEN_TIMES:
                    await self._replace_queues()
                    broken = 0
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS) - 1)])
                failures += 1
        await self._no_more()

    async def _replace_queues(self) -> None:
        """The broker answers, and says that the queue is broken: a quorum queue that was deleted and made again can be
        left so by a kill -9 of RabbitMQ (3.10), and stays so. It holds wake-ups only, so that a new one loses nothing.
        """
        logger.warning("the media queue is broken and made anew", extra={"queue": QUEUE})
        with suppress(*TROUBLE):
            await Link.remove_queues()

    async def settle(self, grace: float) -> None:
        """Wait for what is in hand, then give back the rest and disconnect."""
        if self._hands:
            await asyncio.wait(self._hands, timeout=grace)
        left = list(self._hands)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._drop()

    async def _consume(self) -> None:
        self._link = link = await Link.open(self._prefetch)
        self._cancelled.clear()
        link.connection.close_callbacks.add(self._told_cancelled)
        raw: Any = await link.channel.get_underlay_channel()
        raw.on_consumer_cancel_callbacks.add(self._told_cancelled)
        try:
            self._tag = await link.queue.consume(self._take, timeout=ANSWER_SECONDS)
        except (ConnectionInternalError, TimeoutError) as error:
            raise QueueBroken(type(error).__name__) from error
        self.outage.worked()
        self.reading.set()
        logger.info("media consumer reads", extra={"queue": QUEUE, "address": address(settings.RABBITMQ_URL)})

    async def _watch(self, stop: asyncio.Event) -> None:
        """Returns at `stop`; raises ConnectionError when we are no consumer of the queue any more."""
        stopping = asyncio.create_task(stop.wait())
        cancelled = asyncio.create_task(self._cancelled.wait())
        try:
            while True:
                await asyncio.wait(
                    [stopping, cancelled], timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if stopping.done():
                    return
                if cancelled.done() or not await self._is_consumer():
                    raise ConnectionError("the consumer is gone")
        finally:
            stopping.cancel()
            cancelled.cancel()

    async def _is_consumer(self) -> bool:
        """Ask ourselves and the broker, each of whom may know better."""
        link = self._link
        if link is None or not link.usable:
            return False
        raw: Any = await link.channel.get_underlay_channel()
        if self._tag not in raw.consumers:
            return False
        asking = await asyncio.wait_for(link.connection.channel(), ANSWER_SECONDS)
        try:
            found = await asking.declare_queue(QUEUE, passive=True, timeout=ANSWER_SECONDS)
        finally:
            with suppress(*TROUBLE):
                await asking.close()
        return bool(found.declaration_result.consumer_count)

    def _told_cancelled(self, *_: Any) -> None:
        self._cancelled.set()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._one(message))
        self._hands.add(task)  # asyncio keeps no strong reference itself
        task.add_done_callback(self._hands.discard)

    async def _one(self, message: AbstractIncomingMessage) -> None:
        try:
            attachment_id = decode(message.body)
        except Garbage as error:
            logger.warning(
                "garbage on the media queue", extra={"reason": str(error), "size": len(message.body)}
            )
            await self._answer(message.reject(requeue=False))
            return
        try:
            await self._handle(attachment_id)
        except asyncio.CancelledError:
            await self._answer(message.nack(requeue=True))
            raise
        except (
            Exception
        ) as error:  # the loop must live; the message comes back after a while, its row is still due
            logger.warning("media: handler failed", extra={"error": type(error).__name__})
            await self._answer(self._later(message))
        else:
            await self._answer(message.ack())

    async def _later(self, message: AbstractIncomingMessage) -> None:
        if self._link is None:
            return
        await self._link.publish(message.body, later_queue(LATER_SECONDS[1]))
        await message.ack()

    async def _answer(self, answering: Awaitable[Any]) -> None:
        """The channel may be gone with the message, which then comes back by itself."""
        with suppress(*TROUBLE):
            await answering

    async def publish_later(self, attachment_id: UUID, seconds: float) -> None:
        """Have the queue wake us again about then; the sweep would, too."""
        if self._link is not None and self._link.usable:
            with suppress(*TROUBLE):
                await self._link.publish(encode(attachment_id), later_queue(seconds))

    async def _no_more(self) -> None:
        if self._link is not None and self._tag:
            with suppress(*TROUBLE):
                await self._link.queue.cancel(self._tag, timeout=ANSWER_SECONDS)

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()
