"""What every consumer of a stream needs: reading through outages, acknowledging in batches, burying garbage."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from django.conf import settings

from apps.chat import redis_streams as streams
from apps.chat.delivery import failpoints
from apps.chat.errors import QueueAway
from apps.chat.redis_clients import TROUBLE, blocking_client
from apps.chat.redis_streams import Entry

logger = logging.getLogger(__name__)

PAUSE_SECONDS = (0.2, 0.5, 1.0, 2.0)


class StreamReader:
    """Reads one stream under one consumer name, through outages and flushes."""

    def __init__(self, stream: str, consumer: str) -> None:
        self.stream, self.consumer = stream, consumer
        self._block_ms = settings.CHAT_STREAM_BLOCK_TIMEOUT_MS
        self._client = blocking_client(settings.CHAT_STREAM_REDIS_URL, self._block_ms / 1000)
        self._failures = 0

    async def read(self, count: int) -> list[Entry]:
        """New entries; an empty list after the block time, or after a pause when Redis is in trouble."""
        try:
            entries = await streams.read(self._client, self.stream, self.consumer, count, self._block_ms)
        except TROUBLE as error:
            await self._trouble(error)
            return []
        self._worked()
        return entries

    async def reclaim(self, count: int) -> list[Entry]:
        """Entries that others (or we) left lying."""
        try:
            return await streams.reclaim(self.stream, self.consumer, count)
        except TROUBLE as error:
            await self._trouble(error)
            return []

    def _worked(self) -> None:
        self._failures = 0
        streams.outage.worked()

    async def _trouble(self, error: Exception) -> None:
        pause = PAUSE_SECONDS[min(self._failures, len(PAUSE_SECONDS) - 1)]
        self._failures += 1
        if streams.is_no_group(error):
            logger.warning("consumer group is gone, made again", extra={"stream": self.stream})
            with suppress(*TROUBLE):
                await streams.ensure_stream_setup()
            pause = 0.0 if self._failures == 1 else pause
        else:
            streams.outage.failed(error)
        await asyncio.sleep(pause)

    async def leave(self) -> None:
        """Take our name out of the group and close the connection."""
        with suppress(*TROUBLE):
            await streams.remove_consumer(self.stream, self.consumer)
        await self._client.aclose()


class Acknowledger:
    """Acknowledges in batches: what is given while one batch runs forms the next."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._ids: list[str] = []
        self._wanted = asyncio.Event()
        self._stopping = False

    def __call__(self, entry_ids: list[str]) -> None:
        """Acknowledge these soon."""
        if entry_ids:
            self._ids.extend(entry_ids)
            self._wanted.set()

    async def run(self) -> None:
        """Work until `stop`, then once more for what is left."""
        while not self._stopping:
            await self._wanted.wait()
            await self.flush()
        await self.flush()

    def stop(self) -> None:
        """By flag: a batch that is cut off on its way stays pending, and its consumer cannot leave."""
        self._stopping = True
        self._wanted.set()

    async def flush(self) -> None:
        """Acknowledge what is waiting now. With Redis away it is dropped: the entries come back and find nothing."""
        self._wanted.clear()
        ids, self._ids = self._ids, []
        failpoints.hit("ack")
        try:
            await streams.acknowledge(self._stream, ids)
        except TROUBLE as error:
            streams.outage.failed(error)


async def bury(stream: str, entry: Entry, reason: str) -> None:
    """An entry that cannot be used: its reason to the dead letters, the entry gone."""
    logger.warning("garbage on a stream", extra={"stream": stream, "entry": entry.id, "reason": reason})
    try:
        await streams.push_to_dead_letter(
            stream, "garbage", detail=reason, entry=entry.id, size=len(entry.payload)
        )
        await streams.acknowledge(stream, [entry.id])
    except (*TROUBLE, QueueAway):
        return  # it is still pending and comes back
