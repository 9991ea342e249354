"""Saying that an attachment is due: one thread with a loop of its own publishes for the whole process.

Callers never wait. While the broker is away announcements are dropped: workers look for due rows anyway.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from contextlib import suppress
from uuid import UUID

from alrea_sense.amqp_url import address
from django.conf import settings

from apps.chat.errors import QueueAway
from apps.chat.media_queue.wire import DEAD, MOST_WAITING, QUEUE, TROUBLE, Link, encode
from apps.chat.outage import Outage

logger = logging.getLogger(__name__)


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
