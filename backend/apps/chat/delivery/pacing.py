"""The pace of an instance: how many messages it may send now, asked before a step and never while holding a row.

One bucket in Redis serves all workers. With Redis away each process goes by a bucket of its own, which has followed
what the process took before: slower is never the answer to an outage, and faster only by the number of processes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.chat import redis_pace
from apps.chat.redis_clients import TROUBLE

logger = logging.getLogger(__name__)

MOST_BUCKETS = 4096


@dataclass(frozen=True, slots=True)
class Grant:
    """An answer of the pace: so many may go now; when that is fewer than asked for, the next in `wait` seconds."""

    permits: int
    wait: float = 0.0


class Bucket:
    """GCRA for one process, the counterpart of the script in `redis_pace`. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._full = 0.0
        self._slow, self._slow_until = 1.0, 0.0

    def take(self, wanted: int, rate: float, burst: int, now: float) -> Grant:
        """As `redis_pace.take`: a negative `wanted` gives back."""
        slow = self._slow if now < self._slow_until else 1.0
        interval = 1 / (rate * slow)
        if slow < 1:
            burst = max(1, min(burst, int(1 / interval)))
        reach = burst * interval
        full = min(max(self._full, now), now + reach)
        granted = min(wanted, int((now + reach - full) / interval + 1e-6))
        self._full = max(full + granted * interval, now)
        wait = max(self._full + interval - reach - now, 1e-6) if granted < wanted else 0.0
        return Grant(granted, wait)

    def slow_down(self, factor: float, seconds: float, now: float) -> None:
        """Go by `factor` of the rate for so long."""
        self._slow, self._slow_until = factor, now + seconds

    def is_idle(self, now: float) -> bool:
        """Would a new bucket answer the same?"""
        return self._full <= now and self._slow_until <= now


class Pacer:
    """The pace of all instances, as one process asks for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def rate(self) -> float:
        """Messages a second of one instance in the long run; 0 for no pace."""
        return float(settings.CHAT_PACE_RATE)

    @property
    def on(self) -> bool:
        """Is there a pace at all?"""
        return self.rate > 0

    async def take(self, instance: Hashable, wanted: int) -> Grant:
        """Ask for permits; each one not used must be given back."""
        if not self.on:
            return Grant(wanted)
        name, rate, burst = str(instance), self.rate, settings.CHAT_PACE_BURST
        granted = wanted
        if redis_pace.outage.worth_trying:
            try:
                granted, wait = await redis_pace.take(name, rate, burst, wanted)
            except TROUBLE as error:
                redis_pace.outage.failed(error)
            else:
                redis_pace.outage.worked()
                self._bucket(name).take(granted, rate, burst, self._clock())
                return Grant(granted, wait)
        return self._bucket(name).take(wanted, rate, burst, self._clock())

    def give_back(self, instance: Hashable, permits: int) -> None:
        """Return what was not used. Not waited for: a permit that is lost costs one interval."""
        if permits > 0 and self.on:
            self._soon(self._give_back(instance, permits))

    async def _give_back(self, instance: Hashable, permits: int) -> None:
        await self.take(instance, -permits)

    async def slow_down(self, instance: Hashable, factor: float, seconds: float) -> None:
        """Let the instance go by `factor` of the rate for so long, in all processes."""
        self._bucket(str(instance)).slow_down(factor, seconds, self._clock())
        try:
            await redis_pace.slow_down(str(instance), factor, seconds)
        except TROUBLE as error:
            redis_pace.outage.failed(error)

    def _bucket(self, name: str) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                now = self._clock()
                self._buckets = {key: kept for key, kept in self._buckets.items() if not kept.is_idle(now)}
            bucket = self._buckets[name] = Bucket()
        return bucket

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="give permits back")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Wait for what was given back to arrive."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
