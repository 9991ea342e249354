"""Workers over a real Redis and lanes of our own making: what the loops do, without a database or Evolution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
import redis
from asgiref.sync import sync_to_async

from apps.chat import redis_queue, stream_consumer
from apps.chat import redis_streams as streams
from apps.chat.delivery.lane import Step
from apps.chat.delivery.runner import LaneRunner
from apps.chat.redis_clients import close_async_clients, sync_client

T = TypeVar("T")


@pytest.fixture(autouse=True)
def quick(settings: Any, redis_url: str) -> Any:
    """Short waits, and an outage of an earlier test forgotten."""
    settings.CHAT_STREAM_BLOCK_TIMEOUT_MS = 50
    settings.CHAT_STREAM_RECLAIM_IDLE_MS = 300
    settings.CHAT_DRAIN_SECONDS = 2
    streams.outage._since = redis_queue.outage._since = None
    return settings


@pytest.fixture
def raw(quick: Any) -> redis.Redis:
    """A client of the streams' database, for looking and for breaking things."""
    return sync_client(quick.CHAT_STREAM_REDIS_URL)


class Database:
    """The engine's database thread, as far as the loops use it."""

    async def call(self, work: Callable[[], T]) -> T:
        return await sync_to_async(work)()


class Lanes:
    """An engine whose lanes hold as many messages as a test puts in."""

    def __init__(self, concurrency: int = 8) -> None:
        self.database = Database()
        self.waiting: dict[UUID, int] = {}
        self.worked: list[UUID] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.concurrency = concurrency

    def new_runner(self, done: Callable[[list[str]], None]) -> LaneRunner:
        return LaneRunner(step=self.step, deliver=self.deliver, done=done, concurrency=self.concurrency)

    async def step(self, lane_id: UUID) -> Step | None:
        self.worked.append(lane_id)
        await self.go_on.wait()
        if not self.waiting.get(lane_id):
            return None
        self.waiting[lane_id] -= 1
        return lane_id  # type: ignore[return-value]

    async def deliver(self, step: Step, began: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    yield Lanes()
    await close_async_clients()


Running = Callable[..., Any]


@pytest.fixture
def running(lanes: Lanes) -> Running:
    """`async with running(worker):` a worker's loop, stopped in order at the end."""

    @asynccontextmanager
    async def run(worker: Any = None) -> AsyncIterator[asyncio.Event]:
        await streams.ensure_stream_setup()
        worker = worker or stream_consumer.SendWorker(lanes, f"consumer-{uuid4().hex[:6]}")  # type: ignore[arg-type]
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield stop
            assert not task.done(), "the loop died"
        finally:
            stop.set()
            await asyncio.wait_for(task, 15)

    return run


async def until(condition: Callable[[], Any], within: float = 8) -> None:
    """Wait for a condition, or for one that is awaited."""
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)
