"""A send worker's lanes: taken in, worked a few at a time, fair between instances.

A lane is added with the tokens (stream entries, list items) that asked for it. Its tokens are given back only after a
step that began after they came found nothing more to do, so whatever they announced was seen. After each message a lane
goes to the back of its instance's queue, and instances take turns: a bulk of one never delays another. An instance with
a pace has its turn when it has a permit; of its lanes only a few seconds' worth stay in memory, the others are put off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable
from uuid import UUID

from apps.chat.delivery.lane import Busy, Step
from apps.chat.delivery.pacing import Pacer
from apps.chat.delivery.turns import Lane, PacedTurns, Turns

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.02
# A turn that takes longer waits for Evolution and costs nothing but memory: it no longer counts as at work.
SLOW_SECONDS = 5.0
MOST_SLOW = 8
TROUBLE_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class LaneRunner:
    """Works at most `concurrency` lanes at a time.

    One instance has at most three quarters of that, and a turn that became slow no longer counts: an instance that
    hangs keeps its own lanes waiting, nobody else's.

    Args:
        step: asks the database for a lane's head.
        deliver: sends a stepped row and records its outcome; told when the step was begun (monotonic seconds).
        done: gives back tokens whose lanes have nothing more to do.
        capacity: lanes held in memory at most; `room` tells how many more are welcome.
        pacer: gives permits to send, one for each message; None for no pace.
        put_off: told of a lane that found no room at its instance's pace, and in how many seconds to offer it again.
    """

    def __init__(
        self,
        *,
        step: Callable[[UUID], Awaitable[Step | Busy | None]],
        deliver: Callable[[Step, float], Awaitable[None]],
        done: Callable[[list[str]], None],
        concurrency: int,
        capacity: int = 4096,
        pacer: Pacer | None = None,
        put_off: Callable[[UUID, float], None] | None = None,
    ) -> None:
        self._step, self._deliver, self._done = step, deliver, done
        self._concurrency, self._capacity = concurrency, capacity
        self._put_off = put_off or (lambda conversation_id, seconds: None)
        self._lanes: dict[UUID, Lane] = {}
        self._turns = Turns() if pacer is None else PacedTurns(pacer, self._start_more, concurrency)
        self._most_of_one = concurrency - concurrency // 4
        self._tasks: dict[asyncio.Task[None], Hashable] = {}
        self._quick: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        self._at_work: Counter[Hashable] = Counter()
        self._full: set[Hashable] = set()
        self._stopping = False

    @property
    def room(self) -> int:
        """How many more lanes may be added. Those that wait for their instance's pace take no room from others."""
        if self._stopping:
            return 0
        resting = min(self._turns.resting, 4 * self._capacity)
        return max(0, self._capacity + resting - len(self._lanes))

    @property
    def in_flight(self) -> int:
        """Lanes being worked at this moment."""
        return len(self._tasks)

    def add(self, conversation_id: UUID, turn: Hashable, tokens: Iterable[str] = ()) -> None:
        """Take a lane in, or remember that a lane in hand must be stepped once more.

        A lane that would only wait in a long queue for its instance's pace is put off, and its tokens given back: its
        row's own alarm offers it again.
        """
        lane = self._lanes.get(conversation_id)
        if lane is None:
            slot = self._turns.slot(turn)
            if slot is not None:
                self._put_off(conversation_id, slot)
                self._done(list(tokens))
                return
            lane = self._lanes[conversation_id] = Lane(conversation_id, turn)
            self._turns.push(lane)
        lane.tokens.extend(tokens)
        lane.again = True
        if self._stopping:
            self._put_off(conversation_id, 0.0)
        self._start_more()

    def _start_more(self) -> None:
        while not self._stopping and self._has_slot():
            lane = self._turns.pop(self._full)
            if lane is None:
                return
            task = asyncio.create_task(self._work(lane), name=f"lane {lane.id}")
            self._began(task, lane.turn)

    def _has_slot(self) -> bool:
        return len(self._quick) < self._concurrency and len(self._tasks) < MOST_SLOW * self._concurrency

    def _began(self, task: asyncio.Task[None], turn: Hashable) -> None:
        self._tasks[task] = turn
        self._quick[task] = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._slow, task)
        self._at_work[turn] += 1
        if self._at_work[turn] >= self._most_of_one:
            self._full.add(turn)
        task.add_done_callback(self._finished)

    def _slow(self, task: asyncio.Task[None]) -> None:
        self._quick.pop(task, None)
        self._start_more()

    def _finished(self, task: asyncio.Task[None]) -> None:
        turn = self._tasks.pop(task)
        timer = self._quick.pop(task, None)
        if timer is not None:
            timer.cancel()
        self._at_work[turn] -= 1
        if not self._at_work[turn]:
            del self._at_work[turn]
        self._full.discard(turn)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a lane stopped on an unknown error", exc_info=task.exception())
        self._start_more()

    async def _work(self, lane: Lane) -> None:
        """One turn: one message, or the end of the lane."""
        more = True  # whatever ended the turn, only an empty step ends the lane: its tokens must not be forgotten
        lane.sending = False
        try:
            more = await self._turn(lane)
        finally:
            if more or lane.again:
                self._turns.push(lane)
            else:
                self._lanes.pop(lane.id, None)
            if not lane.sending:
                self._turns.unused(lane.turn)

    async def _turn(self, lane: Lane) -> bool:
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
            lane.sending = True
            await self._deliver(step, began)
            return True
        return True

    async def stop(self, grace: float) -> bool:
        """Start nothing more and wait for what is in flight; True when all of it ended within `grace` seconds.

        The lanes left are offered to others at once, by their rows' alarms: another runner, which found a lane's head
        on its way, has acknowledged the wake-ups of what follows.
        """
        self._stopping = True
        self._turns.close()
        clean = await self._end(grace)
        for lane in self._lanes.values():
            self._put_off(lane.id, 0.0)
        return clean

    async def _end(self, grace: float) -> bool:
        """Wait for the lanes in flight, and cancel those that take too long."""
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
