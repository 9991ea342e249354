"""A send worker's lanes: taken in, worked a few at a time, fair between instances.

A lane is added with the tokens (stream entries, list items) that asked for it. Its tokens are given back only after a
step that began after they came found nothing more to do, so whatever they announced was seen. After each message a lane
goes to the back of its instance's queue, and instances take turns: a bulk of one never delays another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from apps.chat.delivery.lane import Busy, Step

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.02
TROUBLE_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class _Lane:
    id: UUID
    turn: Hashable
    tokens: list[str] = field(default_factory=list)
    again: bool = False


class _Turns:
    """Round robin over instances; within one, first come first served."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[_Lane]] = {}

    def push(self, lane: _Lane) -> None:
        self._queues.setdefault(lane.turn, deque()).append(lane)

    def pop(self) -> _Lane | None:
        if not self._queues:
            return None
        turn = next(iter(self._queues))
        queue = self._queues.pop(turn)
        lane = queue.popleft()
        if queue:
            self._queues[turn] = queue  # to the back of the round
        return lane


class LaneRunner:
    """Works lanes with at most `concurrency` in flight.

    Args:
        step: asks the database for a lane's head.
        deliver: sends a stepped row and records its outcome; told when the step was begun (monotonic seconds).
        done: gives back tokens whose lanes have nothing more to do.
        capacity: lanes held in memory at most; `room` tells how many more are welcome.
    """

    def __init__(
        self,
        *,
        step: Callable[[UUID], Awaitable[Step | Busy | None]],
        deliver: Callable[[Step, float], Awaitable[None]],
        done: Callable[[list[str]], None],
        concurrency: int,
        capacity: int = 4096,
    ) -> None:
        self._step, self._deliver, self._done = step, deliver, done
        self._concurrency, self._capacity = concurrency, capacity
        self._lanes: dict[UUID, _Lane] = {}
        self._turns = _Turns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def room(self) -> int:
        """How many more lanes may be added."""
        return 0 if self._stopping else max(0, self._capacity - len(self._lanes))

    @property
    def in_flight(self) -> int:
        """Lanes being worked at this moment."""
        return len(self._tasks)

    def add(self, conversation_id: UUID, turn: Hashable, tokens: Iterable[str] = ()) -> None:
        """Take a lane in, or remember that a lane in hand must be stepped once more."""
        lane = self._lanes.get(conversation_id)
        if lane is None:
            lane = self._lanes[conversation_id] = _Lane(conversation_id, turn)
            self._turns.push(lane)
        lane.tokens.extend(tokens)
        lane.again = True
        self._start_more()

    def _start_more(self) -> None:
        while not self._stopping and len(self._tasks) < self._concurrency:
            lane = self._turns.pop()
            if lane is None:
                return
            task = asyncio.create_task(self._work(lane), name=f"lane {lane.id}")
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a lane stopped on an unknown error", exc_info=task.exception())
        self._start_more()

    async def _work(self, lane: _Lane) -> None:
        """One turn: one message, or the end of the lane."""
        more = True  # whatever ended the turn, only an empty step ends the lane: its tokens must not be forgotten
        try:
            more = await self._turn(lane)
        finally:
            if more or lane.again:
                self._turns.push(lane)
            else:
                self._lanes.pop(lane.id, None)

    async def _turn(self, lane: _Lane) -> bool:
        """Returns whether the lane may have more to do."""
        for pause in (*TROUBLE_SECONDS, None):
            lane.again = False
            seen, began = len(lane.tokens), time.monotonic()
            try:
                step = await self._step(lane.id)
            except Exception as error:  # the database is away: its wake-ups stay unacknowledged
                logger.warning("a step failed", extra={"error": type(error).__name__})
                if pause is None or self._stopping:
                    return True
                await asyncio.sleep(pause)
                continue
            if isinstance(step, Busy):
                await asyncio.sleep(BUSY_SECONDS)
                return True
            if step is None:
                tokens, lane.tokens = lane.tokens[:seen], lane.tokens[seen:]
                self._done(tokens)
                return False
            await self._deliver(step, began)
            return True
        return True

    async def stop(self, grace: float) -> bool:
        """Start nothing more and wait for what is in flight; True when all of it ended within `grace` seconds."""
        self._stopping = True
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(self._tasks, timeout=grace)
        for task in pending:
            task.cancel()  # a send in flight is recorded as what it is: not sent, or to be verified
        if pending:
            await asyncio.wait(pending, timeout=5)
        return not pending

    def leftovers(self) -> list[str]:
        """Tokens never given back: the reader returns them to the queue."""
        return [token for lane in self._lanes.values() for token in lane.tokens]
