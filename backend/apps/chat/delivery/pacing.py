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
# While at least half of a burst is left, a twentieth of it may be used before it is asked for: an idle instance's
# message does not wait for Redis.
AHEAD_WHILE_LEFT, AHEAD_AT_MOST = 0.5, 0.05


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
        self._left: int | None = None
        self._left_at = 0.0

    def told(self, left: int, now: float) -> None:
        """What the shared bucket still has."""
        self._left, self._left_at = left, now

    def ahead(self, rate: float, burst: int, now: float) -> int:
        """How many permits may be used now and asked for afterwards; as many again once those are paid."""
        if now < self._slow_until:
            return 0
        left = burst if self._left is None else self._left + (now - self._left_at) * rate
        return int(burst * AHEAD_AT_MOST) if left >= burst * AHEAD_WHILE_LEFT else 0

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
        self.told(int((now + reach - self._full) / interval), now)
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
    def burst(self) -> int:
        """How many may go at once after a quiet time."""
        return int(settings.CHAT_PACE_BURST)

    @property
    def on(self) -> bool:
        """Is there a pace at all?"""
        return self.rate > 0

    async def take(self, instance: Hashable, wanted: int) -> Grant:
        """Ask for permits; each one not used must be given back."""
        if not self.on:
            return Grant(wanted)
        name, rate, burst = str(instance), self.rate, self.burst
        if redis_pace.outage.worth_trying:
            try:
                granted, wait, left = await redis_pace.take(name, rate, burst, wanted)
            except TROUBLE as error:
                redis_pace.outage.failed(error)
            else:
                redis_pace.outage.worked()
                bucket, now = self._bucket(name), self._clock()
                bucket.take(granted, rate, burst, now)
                bucket.told(left, now)
                return Grant(granted, wait)
        return self._bucket(name).take(wanted, rate, burst, self._clock())

    def ahead(self, instance: Hashable) -> int:
        """How many permits may be used before they are asked for (`charge`)."""
        return self._bucket(str(instance)).ahead(self.rate, self.burst, self._clock())

    def charge(self, instance: Hashable, permits: int) -> None:
        """Take what was used ahead. Not waited for, and not undone: what the bucket lacks shows in its next answer."""
        if permits > 0:
            self._soon(self._charge(instance, permits))

    async def _charge(self, instance: Hashable, permits: int) -> None:
        await self.take(instance, permits)

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
