"""A worker's lanes in hand: fair turns, tokens given back only for what was seen, and a clean end. No database here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.chat.delivery import runner as module
from apps.chat.delivery.lane import Busy, Step
from apps.chat.delivery.runner import LaneRunner
from apps.chat.tests.delivery.test_policy import STEP


class World:
    """Lanes as the database would have them, and a runner over them that remembers what it did."""

    def __init__(self, concurrency: int = 1, capacity: int = 4096) -> None:
        self.waiting: dict[UUID, deque[int]] = {}
        self.answers: deque[Any] = deque()
        self.steps: list[UUID] = []
        self.sent: list[tuple[UUID, int]] = []
        self.given_back: list[str] = []
        self.alarms: dict[UUID, float] = {}
        self.log: list[str] = []
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.most_at_once = self.at_once = 0
        self.runner = LaneRunner(
            step=self.step,
            deliver=self.deliver,
            done=self.done,
            concurrency=concurrency,
            capacity=capacity,
            put_off=self.put_off,
        )

    def put_off(self, lane_id: UUID, seconds: float) -> None:
        self.alarms[lane_id] = seconds

    def done(self, tokens: list[str]) -> None:
        self.given_back += tokens
        self.log += tokens

    def lane(self, messages: int) -> UUID:
        lane_id = uuid4()
        self.waiting[lane_id] = deque(range(messages))
        return lane_id

    async def step(self, lane_id: UUID) -> Step | Busy | None:
        self.steps.append(lane_id)
        await asyncio.sleep(0)
        if self.answers:
            answer = self.answers.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]
        queue = self.waiting[lane_id]
        return replace(STEP, id=queue[0], conversation_id=lane_id) if queue else None

    async def deliver(self, step: Step, began: float) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            if self.hold is not None:
                await self.hold.wait()
            if self.error is not None:
                self.waiting[step.conversation_id].popleft()  # its row is in flight now, and gives nothing
                error, self.error = self.error, None
                raise error
            self.sent.append((step.conversation_id, step.id))
            self.log.append(f"sent {step.id}")
            self.waiting[step.conversation_id].popleft()
        finally:
            self.at_once -= 1

    async def idle(self, within: float = 5) -> None:
        async with asyncio.timeout(within):
            while self.runner.in_flight or (self.runner._turns._queues and not self.runner._stopping):
                await asyncio.sleep(0.001)

    async def until(self, condition: Any, within: float = 5) -> None:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.runner.stop(0)


async def test_a_lane_is_worked_in_order_and_its_token_given_back_at_its_end(world: World) -> None:
    lane = world.lane(3)
    world.runner.add(lane, "A", ["1-0"])
    await world.idle()
    assert world.sent == [(lane, 0), (lane, 1), (lane, 2)]
    assert world.given_back == ["1-0"]
    assert len(world.steps) == 4
    assert world.runner.leftovers() == []


async def test_no_token_is_given_back_while_its_lane_has_something(world: World) -> None:
    world.hold = asyncio.Event()
    lane = world.lane(1)
    world.runner.add(lane, "A", ["1-0", "2-0"])
    await world.until(lambda: world.at_once == 1)
    assert world.given_back == []
    assert world.runner.leftovers() == ["1-0", "2-0"]
    world.hold.set()
    await world.idle()
    assert sorted(world.given_back) == ["1-0", "2-0"]


async def test_a_token_that_comes_during_the_last_step_needs_another_one() -> None:
    """What it announces may have been committed after that step had looked."""
    world = World()
    lane = world.lane(0)
    looked, go_on = asyncio.Event(), asyncio.Event()
    plain = world.step

    async def slow(lane_id: UUID) -> Step | Busy | None:
        answer = await plain(lane_id)
        if not looked.is_set():
            looked.set()
            await go_on.wait()
        return answer

    world.runner._step = slow
    world.runner.add(lane, "A", ["1-0"])
    await looked.wait()
    world.waiting[lane].append(7)
    world.runner.add(lane, "A", ["2-0"])
    go_on.set()
    await world.idle()
    assert world.log == ["1-0", "sent 7", "2-0"]


async def test_a_lane_added_while_it_is_worked_is_worked_by_nobody_else() -> None:
    world = World(concurrency=8)
    world.hold = asyncio.Event()
    lane = world.lane(2)
    for n in range(5):
        world.runner.add(lane, "A", [f"{n}-0"])
    await world.until(lambda: world.at_once == 1)
    world.runner.add(lane, "A", ["9-0"])
    await asyncio.sleep(0.01)
    assert (world.most_at_once, world.runner.in_flight) == (1, 1)
    world.hold.set()
    await world.idle()
    assert len(world.given_back) == 6


async def test_instances_take_turns(world: World) -> None:
    """A bulk of 1000 lanes delays another instance's message by what is in flight and one turn, no more."""
    bulk = [world.lane(2) for _ in range(1000)]
    for lane in bulk:
        world.runner.add(lane, "A")
    single = world.lane(1)
    world.runner.add(single, "B")
    await world.until(lambda: (single, 0) in world.sent)
    assert world.sent.index((single, 0)) <= 2


async def test_a_long_lane_does_not_hold_up_its_neighbour(world: World) -> None:
    long, short = world.lane(50), world.lane(1)
    world.runner.add(long, "A")
    world.runner.add(short, "A")
    await world.idle()
    assert world.sent.index((short, 0)) <= 2


async def test_no_more_are_in_flight_than_asked_for() -> None:
    world = World(concurrency=3)
    for _ in range(20):
        world.runner.add(world.lane(2), "A")
    await world.idle()
    assert world.most_at_once == 3
    assert len(world.sent) == 40


async def test_room_is_what_memory_holds() -> None:
    world = World(concurrency=0, capacity=3)
    assert world.runner.room == 3
    lanes = [world.lane(1) for _ in range(4)]
    for lane in lanes:
        world.runner.add(lane, "A")
    assert world.runner.room == 0
    world.runner.add(lanes[0], "A")
    assert world.runner.room == 0


async def test_a_busy_lane_is_asked_again_and_keeps_its_tokens(world: World) -> None:
    lane = world.lane(1)
    world.answers.extend([Busy(lane), Busy(lane)])
    world.runner.add(lane, "A", ["1-0"])
    await world.idle()
    assert world.sent == [(lane, 0)]
    assert len(world.steps) == 4
    assert world.given_back == ["1-0"]


async def test_with_the_database_away_it_waits_and_gives_nothing_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TROUBLE_SECONDS", (0.001, 0.001))
    lane = world.lane(1)
    world.answers.extend([OSError("away")] * 7)
    world.runner.add(lane, "A", ["1-0"])
    await world.until(lambda: not world.answers)
    assert world.given_back == []
    await world.idle()
    assert world.sent == [(lane, 0)]
    assert world.given_back == ["1-0"]


async def test_an_unknown_error_costs_one_message_not_the_runner(world: World) -> None:
    world.error = RuntimeError("a defect")
    lane = world.lane(2)
    world.runner.add(lane, "A", ["1-0"])
    await world.until(lambda: world.given_back == ["1-0"])
    await world.idle()
    assert world.sent == [(lane, 1)]


async def test_a_stop_waits_for_what_is_in_flight_and_leaves_the_rest() -> None:
    world = World()
    world.hold = asyncio.Event()
    first, second = world.lane(2), world.lane(1)
    world.runner.add(first, "A", ["1-0"])
    world.runner.add(second, "A", ["2-0"])
    await world.until(lambda: world.at_once == 1)
    stopping = asyncio.create_task(world.runner.stop(5))
    await asyncio.sleep(0.01)
    assert world.runner.room == 0
    world.hold.set()
    assert await stopping is True
    assert world.sent == [(first, 0)]
    assert sorted(world.runner.leftovers()) == ["1-0", "2-0"]
    assert world.given_back == []


async def test_a_stop_that_takes_too_long_leaves_those_in_flight_as_well() -> None:
    """What a cancelled send came to stands in its row; its wake-up must still reach another worker."""
    world = World(concurrency=2)
    world.hold = asyncio.Event()
    lanes = [world.lane(1) for _ in range(3)]
    for n, lane in enumerate(lanes):
        world.runner.add(lane, "A", [f"{n}-0"])
    await world.until(lambda: world.at_once == 2)
    assert await world.runner.stop(0.01) is False
    assert world.sent == []
    assert sorted(world.runner.leftovers()) == ["0-0", "1-0", "2-0"]


async def test_a_stop_rings_for_the_lanes_it_leaves() -> None:
    """Another runner may have acknowledged their wake-ups: their head was on its way, and this one would go on."""
    world = World()
    world.hold = asyncio.Event()
    begun, waiting, late = world.lane(2), world.lane(1), world.lane(1)
    world.runner.add(begun, "A")
    world.runner.add(waiting, "A")
    await world.until(lambda: world.at_once == 1)
    stopping = asyncio.create_task(world.runner.stop(5))
    await asyncio.sleep(0.01)
    world.hold.set()
    await stopping
    assert world.alarms == {begun: 0.0, waiting: 0.0}
    world.runner.add(late, "A")
    assert world.alarms == {begun: 0.0, waiting: 0.0, late: 0.0}


async def test_nothing_is_started_after_a_stop(world: World) -> None:
    assert await world.runner.stop(1) is True
    lane = world.lane(1)
    world.runner.add(lane, "A", ["1-0"])
    await asyncio.sleep(0.01)
    assert world.steps == []
    assert world.runner.leftovers() == ["1-0"]


async def test_an_instance_that_hangs_keeps_nobody_else_waiting() -> None:
    world = World(concurrency=8)
    world.hold = asyncio.Event()
    for _ in range(20):
        world.runner.add(world.lane(1), "hangs")
    await world.until(lambda: world.at_once == 6)
    others = [world.lane(1) for _ in range(3)]
    for one in others:
        world.runner.add(one, "other")
    await world.until(lambda: world.at_once == 8)
    assert set(others) & set(world.steps[-2:]) == set(world.steps[-2:])
    world.hold.set()
    await world.idle()
    assert len(world.sent) == 23


async def test_turns_that_became_slow_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.05)
    world = World(concurrency=4)
    world.hold = asyncio.Event()
    for turn in ("a", "b", "c", "d"):
        for _ in range(9):
            world.runner.add(world.lane(1), turn)
    await world.until(lambda: world.at_once == 12)  # three of each, whatever the others do
    await asyncio.sleep(0.12)
    assert world.at_once == 12
    world.hold.set()
    await world.idle()
    assert len(world.sent) == 36
