"""Whose turn it is: lanes waiting for a worker's attention, fair between instances, paced where there is a pace.

Instances take turns; within one, lanes are served first come first served. With a pace an instance has its turn only
while it has permits. They are asked for when lanes wait, for all of them at once, and the unused ones are returned:
a lane that waits for its pace holds no row, no connection and no slot. While plenty is left, a few go ahead of the
question: an idle instance's message does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Container, Hashable
from dataclasses import dataclass, field
from uuid import UUID

from apps.chat.delivery.pacing import Grant, Pacer

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 30.0
FURTHEST_SLOT_SECONDS = 60.0
TROUBLE_SECONDS = 1.0
# Lanes an instance keeps in memory while it waits for its pace: so many seconds' worth.
KEEP_SECONDS = 5.0
KEEP_AT_LEAST, KEEP_AT_MOST = 16, 1024
# How long permits that went ahead may add up before they are charged together.
CHARGE_SECONDS = 0.05


@dataclass(slots=True)
class Lane:
    """A conversation in hand, and the tokens that asked for it. `sending`: its last turn stepped a row."""

    id: UUID
    turn: Hashable
    tokens: list[str] = field(default_factory=list)
    again: bool = False
    sending: bool = False


class Turns:
    """Without a pace: round robin over instances, and nothing else."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[Lane]] = {}

    @property
    def resting(self) -> int:
        """Lanes that only wait for their pace."""
        return 0

    def push(self, lane: Lane) -> None:
        """To the back of its instance's queue."""
        self._queues.setdefault(lane.turn, deque()).append(lane)

    def pop(self, full: Container[Hashable] = ()) -> Lane | None:
        """The next lane to work, None when there is none at present. Instances in `full` keep their turn."""
        turn = next((turn for turn in self._queues if turn not in full), None)
        if turn is None:
            return None
        queue = self._queues.pop(turn)
        lane = queue.popleft()
        if queue:
            self._queues[turn] = queue  # to the back of the round
        return lane

    def unused(self, turn: Hashable) -> None:
        """A turn was taken and nothing sent."""

    def slot(self, turn: Hashable) -> float | None:
        """None to take one more lane of the instance in; else the seconds after which it may be offered again."""
        return None

    def close(self) -> None:
        """Ask for nothing more."""


@dataclass(slots=True)
class _Queue:
    """An instance's lanes and permits; `asking` is the question or the pause under way, `due` when that ends.

    `ahead` permits were used before they were asked for; `charging` is the timer that makes up for it.
    """

    lanes: deque[Lane] = field(default_factory=deque)
    permits: int = 0
    asking: asyncio.Task[None] | asyncio.TimerHandle | None = None
    due: float = 0.0
    last_slot: float = 0.0
    ahead: int = 0
    charging: asyncio.TimerHandle | None = None


class PacedTurns(Turns):
    """Round robin over the instances that have permits.

    Args:
        ready: told that `pop` has something again.
        at_once: permits asked for at most in one question.
    """

    def __init__(self, pacer: Pacer, ready: Callable[[], None], at_once: int) -> None:
        super().__init__()
        self._pacer, self._tell_ready, self._at_once = pacer, ready, max(at_once, 1)
        self._waiting: dict[Hashable, _Queue] = {}
        self._ready: dict[Hashable, None] = {}
        self._closed = False

    @property
    def resting(self) -> int:
        """Lanes that only wait for their pace."""
        now = time.monotonic()
        return sum(len(queue.lanes) for queue in self._waiting.values() if _rests(queue, now))

    def push(self, lane: Lane) -> None:
        """To the back of its instance's queue."""
        queue = self._waiting.setdefault(lane.turn, _Queue())
        queue.lanes.append(lane)
        self._settle(lane.turn, queue)

    def pop(self, full: Container[Hashable] = ()) -> Lane | None:
        """The next lane to work; it takes a permit along. Instances in `full` keep their turn."""
        turn = next((turn for turn in self._ready if turn not in full), None)
        if turn is None:
            return None
        del self._ready[turn]  # to the back of the round, if it comes back at all
        queue = self._waiting[turn]
        queue.permits -= 1
        lane = queue.lanes.popleft()
        self._settle(turn, queue)
        return lane

    def unused(self, turn: Hashable) -> None:
        """The permit of a turn was not used: the instance's next lane takes it, or the bucket has it back."""
        queue = self._waiting.setdefault(turn, _Queue())
        if queue.ahead:
            queue.ahead -= 1
        else:
            queue.permits += 1
        self._settle(turn, queue)

    def slot(self, turn: Hashable) -> float | None:
        """An instance at its pace keeps a few seconds' worth of lanes; the others are told when to come back.

        Slots follow one another at the instance's pace, so that what comes back finds its place.
        """
        queue, now, rate = self._waiting.get(turn), time.monotonic(), self._pacer.rate
        if queue is None or not _rests(queue, now) or len(queue.lanes) < _keep(rate):
            return None
        first = now + len(queue.lanes) / rate * 0.75
        queue.last_slot = max(queue.last_slot + 1 / rate, first)
        if queue.last_slot > now + FURTHEST_SLOT_SECONDS:
            queue.last_slot = now + FURTHEST_SLOT_SECONDS
            return random.uniform(FURTHEST_SLOT_SECONDS / 2, FURTHEST_SLOT_SECONDS)
        return queue.last_slot - now

    def close(self) -> None:
        """Ask for nothing more, and return what was not used."""
        self._closed = True
        for turn, queue in self._waiting.items():
            if queue.asking is not None:
                queue.asking.cancel()
            self._charge(turn, queue)
            self._pacer.give_back(turn, queue.permits)
            queue.permits = 0
        self._ready.clear()

    # --- permits ----------------------------------------------------------------------------------

    def _settle(self, turn: Hashable, queue: _Queue) -> None:
        """What the instance needs now: its turn, permits, or to be forgotten."""
        if self._closed:
            self._pacer.give_back(turn, queue.permits)
            queue.permits = 0
        elif queue.lanes and queue.permits > 0:
            self._ready.setdefault(turn)
        elif queue.lanes:
            self._want(turn, queue)
        elif queue.asking is None and queue.charging is None:
            self._pacer.give_back(turn, queue.permits)
            del self._waiting[turn]

    def _want(self, turn: Hashable, queue: _Queue) -> None:
        if queue.asking is not None:
            return
        if queue.ahead < self._pacer.ahead(turn):
            self._go_ahead(turn, queue)
            return
        pause = queue.due - time.monotonic()
        if pause > 0:
            queue.asking = asyncio.get_running_loop().call_later(pause, self._paused, turn, queue)
        else:
            queue.asking = asyncio.create_task(self._ask(turn, queue), name=f"pace {turn}")

    def _go_ahead(self, turn: Hashable, queue: _Queue) -> None:
        queue.ahead += 1
        queue.permits += 1
        self._ready.setdefault(turn)
        if queue.charging is None:
            loop = asyncio.get_running_loop()
            queue.charging = loop.call_later(CHARGE_SECONDS, self._charge, turn, queue)

    def _charge(self, turn: Hashable, queue: _Queue) -> None:
        """Pay for what went ahead."""
        if queue.charging is not None:
            queue.charging.cancel()
            queue.charging = None
            self._pacer.charge(turn, queue.ahead)
            queue.ahead = 0
            self._settle(turn, queue)

    def _paused(self, turn: Hashable, queue: _Queue) -> None:
        queue.asking = None
        self._settle(turn, queue)

    async def _ask(self, turn: Hashable, queue: _Queue) -> None:
        wanted = max(min(len(queue.lanes), self._at_once), 1)
        try:
            grant = await self._pacer.take(turn, wanted)
        except Exception as error:  # a defect: the lanes must not be forgotten over it
            logger.error("the pace could not be asked", exc_info=error)  # noqa: TRY400
            grant = Grant(0, TROUBLE_SECONDS)
        queue.asking = None
        queue.permits += grant.permits
        queue.due = time.monotonic() + min(grant.wait, LONGEST_PAUSE_SECONDS) if grant.wait else 0.0
        self._settle(turn, queue)
        self._tell_ready()


def _rests(queue: _Queue, now: float) -> bool:
    return queue.due > now and queue.permits <= 0


def _keep(rate: float) -> int:
    return int(min(max(rate * KEEP_SECONDS, KEEP_AT_LEAST), KEEP_AT_MOST))
