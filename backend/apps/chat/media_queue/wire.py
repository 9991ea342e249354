"""Names, bodies and the connection: what publishing and consuming share."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aiormq.exceptions import AMQPError, ChannelInvalidStateError, ChannelPreconditionFailed
from django.conf import settings

logger = logging.getLogger(__name__)

QUEUE: Final = "chat_process_incoming_media"
DEAD: Final = f"{QUEUE}.dead"
LATER_SECONDS: Final = (2, 10, 60, 300)
DELIVERY_LIMIT: Final = 20
HEARTBEAT_SECONDS: Final = 10
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 4.0
GOODBYE_SECONDS: Final = 1.0
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


class QueueBroken(ConnectionError):
    """RabbitMQ answers, but has of the queue no more than its name: it cannot be consumed from."""


class Garbage(ValueError):
    """A message that names no attachment."""


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


_DEAD_QUEUE: Final[dict[str, Any]] = {"x-queue-type": "quorum", "x-max-length": 10_000}
_MAIN_QUEUE: Final[dict[str, Any]] = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": DEAD,
    "x-delivery-limit": DELIVERY_LIMIT,
}


def _later_queue_arguments(seconds: int) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": seconds * 1000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": QUEUE,
    }


class Link:
    """One connection and channel with everything declared. Never repaired: a broken one is replaced."""

    channel: AbstractChannel
    queue: Any

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, prefetch: int = 0) -> Link:
        """Connect and declare. Raises one of TROUBLE."""
        async with asyncio.timeout(CONNECT_SECONDS * 2):
            connection = await aio_pika.connect(
                settings.RABBITMQ_URL, timeout=CONNECT_SECONDS, heartbeat=HEARTBEAT_SECONDS
            )
            try:
                link = cls(connection)
                link.channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                await link._declare()
                if prefetch:
                    await link.channel.set_qos(prefetch)
            except BaseException:
                await _close(connection)
                raise
            return link

    @property
    def usable(self) -> bool:
        return not (self.connection.is_closed or self.channel.is_closed)

    async def _declare(self) -> None:
        dead = await self.channel.declare_exchange(DEAD, aio_pika.ExchangeType.FANOUT, durable=True)
        dead_queue = await self.channel.declare_queue(DEAD, durable=True, arguments=_DEAD_QUEUE)
        await dead_queue.bind(dead)
        for seconds in LATER_SECONDS:
            name, arguments = f"{QUEUE}.later.{seconds}", _later_queue_arguments(seconds)
            await self.channel.declare_queue(name, durable=True, arguments=arguments)
        try:
            self.queue = await self.channel.declare_queue(QUEUE, durable=True, arguments=_MAIN_QUEUE)
        except ChannelPreconditionFailed:
            await self._take_as_it_is()

    async def _take_as_it_is(self) -> None:
        """A former system made the queue in its own way: use it so. The refusal has closed the channel."""
        logger.error("the media queue has other arguments than ours: delete it while it is empty")
        self.channel = await self.connection.channel(publisher_confirms=True, on_return_raises=True)
        self.queue = await self.channel.declare_queue(QUEUE, passive=True)

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
        await asyncio.wait_for(connection.close(), GOODBYE_SECONDS)
