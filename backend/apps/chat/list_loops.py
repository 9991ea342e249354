"""The loop over one Redis list: take into the hand, work, strike off; and what keeps it honest meanwhile.

Each loop has a hand of its own in Redis (`redis_hands`). Beside the taking, one task strikes finished items off, in
batches, and one says that we live, moves on what is due and returns what dead consumers held. When the answer to a take
was lost, or now and then, the hand is compared with what we know to hold, so that no item is forgotten in it.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from django.conf import settings

from apps.chat import redis_queue
from apps.chat.delivery import failpoints
from apps.chat.redis_clients import TROUBLE, blocking_client
from apps.chat.redis_hands import Hands

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1
PAUSE_SECONDS = 1.0
FULL_SECONDS = 0.02
TICK_SECONDS = 1.0
DOUBT_TICKS = 15
LOST_TICKS = 120


class ListLoop(ABC):
    """Takes from one list under one consumer name. What it took leaves through `finished` or a method of `hands`."""

    def __init__(self, queue: str, consumer: str) -> None:
        self.queue = queue
        self.hands = Hands(queue, consumer)
        self._client = blocking_client(settings.CHAT_QUEUE_REDIS_URL, WAIT_SECONDS)
        self._held: Counter[str] = Counter()
        self._done: list[str] = []
        self._strike = asyncio.Event()
        self._stopping = self._registered = False
        self._doubt = True

    # --- what a list's worker decides -------------------------------------------------------------

    @property
    @abstractmethod
    def room(self) -> int:
        """How many more items are welcome."""

    @abstractmethod
    async def start(self, texts: Sequence[str], stop: asyncio.Event) -> None:
        """Begin with these; soon done."""

    @abstractmethod
    async def finish(self) -> None:
        """End what is under way; what is left in the hand is given back afterwards."""

    @abstractmethod
    async def return_from(self, consumer: str, text: str) -> bool:
        """Give back an item that a dead consumer held; whether it was still there."""

    # --- the loop ---------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Take items until told to stop, then give back what is left."""
        side = [asyncio.create_task(self._keep_house(stop)), asyncio.create_task(self._strike_off())]
        try:
            while not stop.is_set():
                _raise_if_dead(side)
                if self.room <= 0 or not self._registered:
                    await asyncio.sleep(FULL_SECONDS)
                    continue
                texts = await self._take()
                if texts:
                    failpoints.hit("read")
                    await self.start(texts, stop)
            await self.finish()
        finally:
            self._stopping = True
            self._strike.set()
            stop.set()
            await asyncio.wait(side)
            await self._leave()
        _raise_if_dead(side)

    async def _take(self) -> list[str]:
        try:
            if self._doubt:
                texts = await self._strays()
                self._doubt = False
            else:
                texts = await self.hands.take(self._client, self.room, WAIT_SECONDS)
        except TROUBLE as error:
            self._doubt = True  # the answer may be lost, and what it told of in our hand
            redis_queue.outage.failed(error)
            await asyncio.sleep(PAUSE_SECONDS)
            return []
        redis_queue.outage.worked()
        self._held.update(texts)
        return texts

    async def _strays(self) -> list[str]:
        """What is in our hand and nobody here works on. No take is under way while we look."""
        known = self._held.copy()
        return list((Counter(await self.hands.held()) - known).elements())

    def finished(self, texts: Sequence[str]) -> None:
        """These need nothing more: they are struck off soon, however long Redis is away."""
        if texts:
            self._done.extend(texts)
            self._strike.set()

    def gone(self, text: str) -> None:
        """This one has left the hand some other way."""
        self._held.subtract([text])
        if self._held[text] <= 0:
            del self._held[text]

    def forget(self, text: str) -> None:
        """We could not say what became of it: it is found in the hand again."""
        self.gone(text)
        self._doubt = True

    async def _strike_off(self) -> None:
        while not self._stopping:
            await self._strike.wait()
            if not await self._flush():
                await asyncio.sleep(PAUSE_SECONDS)
        await self._flush()

    async def _flush(self) -> bool:
        self._strike.clear()
        texts, self._done = self._done, []
        try:
            await self.hands.done(texts)
        except TROUBLE as error:
            redis_queue.outage.failed(error)
            self._done = texts + self._done
            self._strike.set()
            return False
        for text in texts:
            self.gone(text)
        return True

    # --- beside it --------------------------------------------------------------------------------

    async def _keep_house(self, stop: asyncio.Event) -> None:
        ticks = 0
        while not stop.is_set():
            ticks += 1
            try:
                dead = await self.hands.look_around()
                self._registered = True
                for consumer in dead:
                    await self._inherit(consumer)
                if ticks % DOUBT_TICKS == 0:
                    self._doubt = True
                if ticks % LOST_TICKS == 0:
                    await self.hands.find_lost_hands()
            except TROUBLE as error:
                redis_queue.outage.failed(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(TICK_SECONDS, settings.CHAT_HEARTBEAT_SECONDS))

    async def _inherit(self, consumer: str) -> None:
        returned = 0
        for text in await self.hands.hand_of(consumer):
            returned += await self.return_from(consumer, text)
        await self.hands.forget(consumer)
        if returned:
            extra = {"queue": self.queue, "consumer": consumer, "items": returned}
            logger.warning("items of a dead consumer returned", extra=extra)

    async def _leave(self) -> None:
        with suppress(*TROUBLE):
            await self.hands.leave()
        await self._client.aclose()


def _raise_if_dead(tasks: Sequence[asyncio.Task[None]]) -> None:
    """A side task that died of an error takes its loop with it: half a worker looks alive."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
