"""Saying "look at this lane" after a commit, through Redis or, when that is away, through the row's own alarm."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from uuid import UUID

from django.conf import settings

from apps.chat import redis_queue, redis_streams
from apps.chat.delivery import lane
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.errors import QueueAway
from apps.chat.models import Delivery
from apps.chat.redis_streams import WakeUp

logger = logging.getLogger(__name__)

SOON_SECONDS = 0.005


def announce(
    message_id: UUID | str | None,
    conversation_id: UUID | str | None = None,
    instance_id: UUID | str | None = None,
) -> None:
    """Put a wake-up where CHAT_SEND_TRANSPORT says: on the stream, or on the list.

    Raises:
        QueueAway: Redis does not answer.
    """
    if settings.CHAT_SEND_TRANSPORT == "list":
        redis_queue.enqueue_wake_up(message_id, conversation_id, instance_id)
    else:
        redis_streams.enqueue_send_message(message_id, conversation_id, instance_id)


def wake_lane(conversation_id: UUID, instance_id: UUID) -> None:
    """Announce that a lane may move. Losing the announcement costs time, doubling it costs nothing."""
    try:
        announce(None, conversation_id, instance_id)
    except QueueAway:
        lane.ring(conversation_id)


def wake_rest(conversation_id: UUID, instance_id: UUID) -> None:
    """Announce a lane whose head went away, if anything waits behind it."""
    if Delivery.objects.filter(conversation_id=conversation_id, live=True).exists():
        wake_lane(conversation_id, instance_id)


class WakeUps:
    """Wake-ups of messages that this process looks at already, written a moment later and many in one round trip.

    They are for the others, should this process die: until then nobody waits for them.
    """

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._waiting: list[WakeUp] = []
        self._writing: set[asyncio.Task[None]] = set()

    def put(self, wake_up: WakeUp) -> None:
        """Write it soon."""
        self._waiting.append(wake_up)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(SOON_SECONDS, self._start)

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch:
            task = asyncio.create_task(self._write(batch), name="write wake-ups")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, batch: list[WakeUp]) -> None:
        try:
            await redis_streams.enqueue_many_async(batch)
        except QueueAway:
            for conversation_id in {one.conversation_id for one in batch if one.conversation_id}:
                await self._ring(conversation_id)

    async def _ring(self, conversation_id: UUID) -> None:
        try:
            await self._database.call(partial(lane.ring, conversation_id))
        except Exception as error:  # the database is away, too: the row's own alarm rings later
            logger.warning("a lane's alarm was not rung", extra={"error": type(error).__name__})

    async def stop(self) -> None:
        """Write what waits."""
        self._start()
        if self._writing:
            await asyncio.wait(self._writing, timeout=2.0)
