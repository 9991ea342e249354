"""The loops over the Redis lists: one per list, none of them blocking the event loop or each other.

`chat:queue:send_message` carries wake-ups only: an item that a crash swallows costs time, the sweeper finds
the row.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.chat import redis_queue, redis_streams
from apps.chat.delivery.engine import Engine
from apps.chat.errors import QueueAway
from apps.chat.redis_clients import TROUBLE, blocking_client
from apps.chat.stream_consumer import find_places, supervise

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2
PAUSE_SECONDS = 1.0


class SendListWorker:
    """Drains `chat:queue:send_message` into the delivery engine, whichever transport is configured."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runner = engine.new_runner(lambda tokens: None)
        self._client = blocking_client(settings.CHAT_QUEUE_REDIS_URL, WAIT_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Take items until told to stop."""
        try:
            while not stop.is_set():
                if self._runner.room == 0:
                    await asyncio.sleep(0.05)
                    continue
                text = await self._pop()
                if text is not None:
                    await self._take(text, stop)
        finally:
            await self._client.aclose()

    async def _pop(self) -> str | None:
        try:
            item: Any = await self._client.brpop([redis_queue.REDIS_QUEUE_SEND_MESSAGE], timeout=WAIT_SECONDS)
        except TROUBLE as error:
            redis_queue.outage.failed(error)
            await asyncio.sleep(PAUSE_SECONDS)
            return None
        redis_queue.outage.worked()
        return str(item[1]) if item else None

    async def _take(self, text: str, stop: asyncio.Event) -> None:
        try:
            message_id = UUID(str(redis_queue.decode(text).get("message_id")))
        except (ValueError, RecursionError):
            logger.warning("garbage on a list", extra={"queue": redis_queue.REDIS_QUEUE_SEND_MESSAGE})
            with suppress(QueueAway):
                await redis_streams.push_to_dead_letter(
                    redis_queue.REDIS_QUEUE_SEND_MESSAGE, "garbage", detail="no message_id", size=len(text)
                )
            return
        places = await find_places(self._engine, [message_id], stop)
        if places is not None and message_id in places:  # else the sweeper finds its row
            self._runner.add(*places[message_id])


async def start_redis_consumers(
    *, engine: Engine | None = None, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None
) -> None:
    """Run one loop per list until `stop`; with an engine of its own unless one is given."""
    stop = stop or asyncio.Event()
    if engine is None:
        async with Engine() as own:
            await start_redis_consumers(engine=own, stop=stop, ready=ready)
        return
    logger.info("list consumers ready", extra={"worker": engine.presence.name})
    if ready is not None:
        ready.set()
    await supervise([SendListWorker(engine).run(stop)], stop)
