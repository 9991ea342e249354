"""One database thread per process. What arrives while a batch runs forms the next one (group commit).

Idle, a call costs one thread hop; busy, one statement serves up to `BATCH` lanes. Finalizes run before steps, each in
its own transaction: a step must see every finalize that was committed before it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection

from apps.chat.delivery import lane
from apps.chat.delivery.finalize import finalize
from apps.chat.delivery.lane import Busy, Final, Finalized, Step

BATCH = 256
T = TypeVar("T")
_Job = tuple[Any, "asyncio.Future[Any]"]


class DatabaseThread:
    """Runs lane statements for one event loop. Construct it in the loop that will await it."""

    def __init__(self, owner: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._ready = threading.Condition()
        self._steps: deque[_Job] = deque()
        self._finals: deque[_Job] = deque()
        self._calls: deque[_Job] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="chat-database", daemon=True)
        self._thread.start()

    async def step(self, conversation_id: UUID) -> Step | Busy | None:
        """The lane's head, now ours; `Busy`; or None when the lane has nothing to give."""
        result: Step | Busy | None = await self._submit(self._steps, conversation_id)
        return result

    async def finalize(self, final: Final) -> Finalized | None:
        """The row as the outcome left it, or None when it had moved on."""
        result: Finalized | None = await self._submit(self._finals, final)
        return result

    async def call(self, function: Callable[[], T]) -> T:
        """Run any other database work on the same thread. Keep it short: everybody waits."""
        result: T = await self._submit(self._calls, function)
        return result

    def stop(self) -> None:
        """Finish what was submitted, then end the thread."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        self._thread.join(timeout=10)

    def _submit(self, queue: deque[_Job], item: Any) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        with self._ready:
            if self._stopping:
                raise RuntimeError("the database thread has stopped")
            queue.append((item, future))
            self._ready.notify()
        return future

    def _run(self) -> None:
        try:
            while True:
                with self._ready:
                    while not (self._steps or self._finals or self._calls or self._stopping):
                        self._ready.wait()
                    if self._stopping and not (self._steps or self._finals or self._calls):
                        return
                    finals, steps, calls = (
                        self._take(self._finals),
                        self._take(self._steps),
                        self._take(self._calls),
                    )
                self._batch(finals, self._finalize)
                self._batch(steps, self._step)
                for call in calls:
                    self._batch([call], lambda items: [items[0]()])
        finally:
            connection.close()

    @staticmethod
    def _take(queue: deque[_Job]) -> list[_Job]:
        return [queue.popleft() for _ in range(min(len(queue), BATCH))]

    def _batch(self, jobs: list[_Job], work: Callable[[list[Any]], Sequence[Any]]) -> None:
        if not jobs:
            return
        results: Sequence[Any]
        try:
            results = work([item for item, _ in jobs])
        except Exception as error:  # handed to every caller of the batch, who decide; the thread must live
            connection.close()
            results = [error] * len(jobs)
        self._loop.call_soon_threadsafe(_resolve, [future for _, future in jobs], results)

    def _step(self, lanes: list[UUID]) -> list[Step | Busy | None]:
        found = {row.conversation_id: row for row in lane.step(set(lanes), self._owner())}
        # Two callers of one lane: only the first may have it.
        return [found.pop(conversation_id, None) for conversation_id in lanes]

    @staticmethod
    def _finalize(finals: list[Final]) -> list[Finalized | None]:
        done = {row.id: row for row in finalize(finals)}
        return [done.get(final.id) for final in finals]


def _resolve(futures: list[asyncio.Future[Any]], results: Sequence[Any]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
