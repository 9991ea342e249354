"""A consumer that is there: watched, and made anew with its connection whenever it, the queue or the broker goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import ConnectionInternalError
from alrea_sense.amqp_url import address
from django.conf import settings

from apps.chat.media_queue.wire import (
    ANSWER_SECONDS,
    BROKEN_TIMES,
    LATER_SECONDS,
    PAUSE_SECONDS,
    QUEUE,
    TROUBLE,
    WATCH_SECONDS,
    Garbage,
    Link,
    QueueBroken,
    decode,
    encode,
    later_queue,
)
from apps.chat.outage import Outage

logger = logging.getLogger(__name__)

Handler = Callable[[UUID], Awaitable[None]]


class NotTaken(Exception):
    """The handler takes no more: the message goes back to the queue at once."""


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
        except NotTaken:
            await self._answer(message.nack(requeue=True))
        except asyncio.CancelledError:
            await self._answer(message.nack(requeue=True))
            raise
        except Exception as error:  # the loop must live; the message comes back after a while
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
