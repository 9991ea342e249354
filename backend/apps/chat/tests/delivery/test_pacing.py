"""The pace of an instance: one bucket for all workers, asked before a step, and nothing held while waiting."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.db.models.functions import Now

from apps.chat import redis_pace
from apps.chat.delivery import lane, slots, turns
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.pacing import Bucket, Grant, Pacer
from apps.chat.delivery.runner import LaneRunner
from apps.chat.models import Delivery
from apps.chat.redis_clients import close_async_clients
from apps.chat.tests.delivery.test_runner import World
from apps.chat.tests.factories import due_now, make_conversation, make_instance, queue, queue_many

CLOSED_PORT = "redis://127.0.0.1:1/4"


@pytest.fixture(autouse=True)
def _forget_outages() -> Iterator[None]:
    yield
    redis_pace.outage._since = None


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[None]:
    yield
    await close_async_clients()


@pytest.fixture
def away(settings: Any) -> None:
    settings.CHAT_PACE_REDIS_URL = CLOSED_PORT


# --- the bucket -----------------------------------------------------------------------------------


async def ask(rate: float, burst: int, wanted: int, name: str = "one") -> tuple[int, float]:
    granted, wait, _ = await redis_pace.take(name, rate, burst, wanted)
    return granted, wait


async def test_a_quiet_instance_may_send_its_burst_and_then_one_at_a_time(server: None) -> None:
    granted, wait = await ask(2, 5, 8)
    assert granted == 5
    assert 0.4 < wait <= 0.5
    assert (await ask(2, 5, 1))[0] == 0


async def test_what_was_granted_comes_back_at_the_rate(server: None) -> None:
    assert (await ask(20, 3, 9))[0] == 3
    began, more = time.monotonic(), 0
    while more < 6:
        granted, wait = await ask(20, 3, 1)
        more += granted
        await asyncio.sleep(wait)
    assert 0.24 < time.monotonic() - began < 2


async def test_an_unused_permit_can_be_had_again(server: None) -> None:
    assert (await ask(0.1, 2, 2))[0] == 2
    assert (await ask(0.1, 2, 1))[0] == 0
    await ask(0.1, 2, -1)
    assert (await ask(0.1, 2, 2))[0] == 1


async def test_giving_back_fills_the_bucket_no_further_than_full(server: None) -> None:
    await ask(0.1, 2, -50)
    assert (await ask(0.1, 2, 9))[0] == 2


async def test_instances_have_buckets_of_their_own_that_expire(
    server: None, redis_client: redis.Redis
) -> None:
    assert (await ask(1, 1, 1, "one"))[0] == 1
    assert (await ask(1, 1, 1, "two"))[0] == 1
    redis_client.select(4)
    try:
        assert 0 < redis_client.pttl("chat:pace:{one}") <= 1001
    finally:
        redis_client.select(0)


async def test_while_slowed_down_the_rate_is_less_and_the_burst_a_second_s_worth(server: None) -> None:
    await redis_pace.slow_down("one", 0.5, 60)
    granted, wait = await ask(8, 100, 50)
    assert granted == 4
    assert 0.24 < wait <= 0.25


async def test_a_time_far_ahead_is_drawn_in(server: None, redis_client: redis.Redis) -> None:
    """After a failover to a server whose clock is behind, an instance must not be silent until it has caught up."""
    redis_client.select(4)
    try:
        redis_client.set("chat:pace:{one}", str(int((time.time() + 86_400) * 1_000_000)))
    finally:
        redis_client.select(0)
    granted, wait = await ask(10, 5, 1)
    assert granted == 0
    assert wait <= 0.1


async def test_many_at_once_get_no_more_than_one_would(server: None) -> None:
    answers = await asyncio.gather(*(ask(0.5, 40, 3) for _ in range(30)))
    assert sum(granted for granted, _ in answers) == 40


async def test_the_process_s_own_bucket_agrees_with_the_script(server: None) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rate, burst = 0.001, chance.randint(1, 30)  # so slow that the time between two questions decides nothing
    bucket, now = Bucket(), 1000.0
    for _ in range(200):
        wanted = chance.choice((1, 1, 2, 7, -1, -2))
        granted, wait = await ask(rate, burst, wanted, "same")
        assert bucket.take(wanted, rate, burst, now) == Grant(granted, pytest.approx(wait, abs=2))


def test_the_process_s_own_bucket_refills_and_slows_down() -> None:
    bucket = Bucket()
    assert bucket.take(9, 10, 4, 100.0) == Grant(4, pytest.approx(0.1))
    assert bucket.take(9, 10, 4, 100.21).permits == 2
    assert not bucket.is_idle(100.3)
    assert bucket.is_idle(101.0)
    bucket.slow_down(0.5, 60, 200.0)
    assert bucket.take(9, 4, 100, 200.0) == Grant(2, pytest.approx(0.5))
    assert bucket.take(99, 4, 90, 261.0).permits == 90


# --- a process's pacer ----------------------------------------------------------------------------


async def test_off_it_grants_whatever_is_asked_and_asks_nobody(settings: Any, away: None) -> None:
    settings.CHAT_PACE_RATE = 0
    pacer = Pacer()
    assert await pacer.take("one", 1000) == Grant(1000)
    assert not redis_pace.outage.down


async def test_with_redis_away_the_process_goes_by_a_bucket_of_its_own(settings: Any, away: None) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 1, 3
    pacer = Pacer()
    assert (await pacer.take("one", 5)).permits == 3
    assert redis_pace.outage.down
    refused = await pacer.take("one", 1)
    assert refused.permits == 0
    assert 0 < refused.wait <= 1
    pacer.give_back("one", 1)
    await pacer.stop()
    assert (await pacer.take("one", 5)).permits == 1
    await close_async_clients()


async def test_an_outage_grants_no_second_burst(server: None, settings: Any) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 0.1, 10
    pacer = Pacer()
    assert (await pacer.take("one", 9)).permits == 9
    settings.CHAT_PACE_REDIS_URL = CLOSED_PORT
    assert (await pacer.take("one", 9)).permits == 1


async def test_a_slower_rate_holds_through_an_outage(settings: Any, away: None) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 10, 100
    pacer = Pacer()
    await pacer.slow_down("one", 0.5, 60)
    assert (await pacer.take("one", 100)).permits == 5
    await close_async_clients()


async def test_buckets_that_say_nothing_are_forgotten(settings: Any, away: None) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 1000, 1
    clock = [0.0]
    pacer = Pacer(lambda: clock[0])
    for n in range(5000):
        await pacer.take(n, 1)
        clock[0] += 0.01
    assert len(pacer._buckets) <= 4096
    await close_async_clients()


# --- a worker's lanes at their pace ----------------------------------------------------------------


class Paced(Pacer):
    """A pacer in memory: nothing to fake but the bucket in Redis."""

    def __init__(self, rate: float, burst: int) -> None:
        super().__init__()
        self._rate, self._burst = rate, burst
        self.asked: list[tuple[Any, int]] = []

    @property
    def rate(self) -> float:
        return self._rate

    @property
    def burst(self) -> int:
        return self._burst

    async def take(self, instance: Any, wanted: int) -> Grant:
        self.asked.append((instance, wanted))
        await asyncio.sleep(0)
        return self._bucket(str(instance)).take(wanted, self.rate, self.burst, time.monotonic())


class PacedWorld(World):
    """`World` with a pace; every step and send is dated."""

    def __init__(self, rate: float, burst: int, concurrency: int = 8, capacity: int = 4096) -> None:
        super().__init__(concurrency, capacity)
        self.pacer = Paced(rate, burst)
        self.put_off: dict[UUID, float] = {}
        self.sent_at: list[float] = []
        self.runner = LaneRunner(
            step=self.step,
            deliver=self.dated,
            done=self.done,
            concurrency=concurrency,
            capacity=capacity,
            pacer=self.pacer,
            put_off=self.put_off.__setitem__,
        )

    async def dated(self, step: Any, began: float) -> None:
        await self.deliver(step, began)
        self.sent_at.append(time.monotonic())

    async def all_sent(self, count: int, within: float = 10) -> None:
        await self.until(lambda: len(self.sent) >= count, within)


async def test_what_is_sent_keeps_to_the_pace() -> None:
    world = PacedWorld(rate=40, burst=4)
    lanes = [world.lane(1) for _ in range(24)]
    for one in lanes:
        world.runner.add(one, "A", [str(one)])
    began = time.monotonic()
    await world.all_sent(24)
    assert world.sent_at[3] - began < 0.4
    assert 0.45 < world.sent_at[-1] - began < 3
    await world.until(lambda: len(world.given_back) == 24)
    await world.runner.stop(1)


async def test_with_plenty_left_a_message_does_not_wait_for_the_question_and_is_paid_for() -> None:
    world = PacedWorld(rate=1, burst=100)
    world.runner.add(world.lane(1), "A")
    await world.all_sent(1)
    assert world.pacer.asked == []
    world.runner.add(world.lane(0), "A")  # an empty look costs nothing
    await world.until(lambda: len(world.pacer.asked) == 1)
    assert world.pacer.asked == [("A", 1)]
    await world.runner.stop(1)


async def test_going_ahead_adds_little_to_a_burst() -> None:
    world = PacedWorld(rate=0.1, burst=100, concurrency=64)
    for _ in range(150):
        world.runner.add(world.lane(1), "A")
    await world.all_sent(100)
    await asyncio.sleep(3 * turns.CHARGE_SECONDS)
    assert 100 <= len(world.sent) <= 105
    await world.runner.stop(1)


async def test_what_went_ahead_is_paid_for_when_the_runner_stops() -> None:
    world = PacedWorld(rate=0.1, burst=100)
    for _ in range(3):
        world.runner.add(world.lane(1), "A")
    await world.all_sent(3)
    await world.runner.stop(1)
    await world.until(lambda: sum(permits for _, permits in world.pacer.asked) == 3)


async def test_the_order_of_a_lane_is_kept() -> None:
    world = PacedWorld(rate=100, burst=2)
    long = world.lane(12)
    world.runner.add(long, "A", ["1-0"])
    await world.until(lambda: world.given_back == ["1-0"])
    assert [n for _, n in world.sent] == list(range(12))
    await world.runner.stop(1)


async def test_a_lane_that_waits_is_not_stepped() -> None:
    world = PacedWorld(rate=0.01, burst=1)
    for _ in range(3):
        world.runner.add(world.lane(1), "A")
    await world.all_sent(1)
    await asyncio.sleep(0.05)
    assert len(world.steps) == 1
    assert world.runner.in_flight == 0
    await world.runner.stop(1)


async def test_waiting_is_no_busy_loop() -> None:
    world = PacedWorld(rate=5, burst=1)
    for _ in range(50):
        world.runner.add(world.lane(1), "A")
    await asyncio.sleep(0.5)
    assert 2 <= len(world.sent) <= 4
    assert len(world.pacer.asked) <= 12
    await world.runner.stop(1)


async def test_looking_at_an_empty_lane_uses_no_permit() -> None:
    world = PacedWorld(rate=0.01, burst=2)
    for _ in range(6):
        world.runner.add(world.lane(0), "A")
    await world.until(lambda: len(world.steps) == 6)
    full, empty = world.lane(2), world.lane(0)
    world.runner.add(empty, "A")
    world.runner.add(full, "A")
    await world.all_sent(2)
    await world.runner.stop(1)


async def test_one_instance_at_its_pace_does_not_delay_another() -> None:
    world = PacedWorld(rate=0.5, burst=1, concurrency=2)
    for _ in range(200):
        world.runner.add(world.lane(3), "A")
    await world.all_sent(1)
    single = world.lane(1)
    world.runner.add(single, "B", ["9-0"])
    began = time.monotonic()
    await world.until(lambda: (single, 0) in world.sent)
    assert time.monotonic() - began < 0.5
    await world.runner.stop(1)


async def test_waiting_lanes_take_no_room_and_only_some_stay_in_memory() -> None:
    world = PacedWorld(rate=0.5, burst=1, capacity=20)
    first = world.lane(1)
    world.runner.add(first, "A")
    await world.all_sent(1)
    held = []
    for n in range(100):
        one = world.lane(1)
        world.runner.add(one, "A", [f"{n}-0"])
        held.append(one)
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    assert len(world.runner._lanes) == turns.KEEP_AT_LEAST
    assert world.runner.room >= 19
    assert len(world.put_off) == 101 - turns.KEEP_AT_LEAST
    assert len(world.given_back) == len(world.put_off)
    waits = [world.put_off[one] for one in held if one in world.put_off]
    assert all(0 < wait <= turns.FURTHEST_SLOT_SECONDS for wait in waits)
    assert waits[:5] == sorted(waits[:5])
    await world.runner.stop(1)


async def test_a_stop_returns_what_was_not_used() -> None:
    world = PacedWorld(rate=0.01, burst=3, concurrency=1)
    world.hold = asyncio.Event()
    for n in range(3):
        world.runner.add(world.lane(1), "A", [f"{n}-0"])
    await world.until(lambda: world.at_once == 1)
    stopping = asyncio.create_task(world.runner.stop(5))
    await asyncio.sleep(0.01)
    world.hold.set()
    assert await stopping
    await world.pacer.stop()
    await asyncio.sleep(0.01)
    sent = len(world.sent)
    assert sorted(world.runner.leftovers()) == ["0-0", "1-0", "2-0"]
    assert (await world.pacer.take("A", 9)).permits == 3 - sent


async def test_a_pace_that_cannot_be_asked_forgets_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TROUBLE_SECONDS", 0.01)
    world = PacedWorld(rate=100, burst=10)
    take, failures = world.pacer.take, [RuntimeError("a defect")] * 3

    async def broken(instance: Any, wanted: int) -> Grant:
        if failures:
            raise failures.pop()
        return await take(instance, wanted)

    world.pacer.take = broken  # type: ignore[method-assign]
    world.runner.add(world.lane(1), "A", ["1-0"])
    await world.until(lambda: world.given_back == ["1-0"])
    assert len(world.sent) == 1
    await world.runner.stop(1)


async def test_instances_at_their_pace_take_turns() -> None:
    world = PacedWorld(rate=200, burst=1, concurrency=1)
    lanes = {name: [world.lane(1) for _ in range(20)] for name in "AB"}
    for name, mine in lanes.items():
        for one in mine:
            world.runner.add(one, name)
    await world.all_sent(40)
    owner = {one: name for name, mine in lanes.items() for one in mine}
    half = Counter(owner[one] for one, _ in world.sent[:20])
    assert min(half["A"], half["B"]) >= 7
    await world.runner.stop(1)


# --- put off --------------------------------------------------------------------------------------


def alarm_in(delivery: Delivery) -> float:
    return Delivery.objects.get(pk=delivery.pk).sweep_at.timestamp() - lane.database_seconds()


@pytest.mark.django_db
def test_only_the_alarm_of_the_head_is_moved() -> None:
    conversation, other = make_conversation(), make_conversation()
    head, second = queue_many(conversation, 2)
    alone = queue(other)
    due_now()
    slots.write({conversation.pk: 40.0, other.pk: 20.5, uuid4(): 5.0})
    assert 38 < alarm_in(head) < 40.1
    assert alarm_in(second) < 0
    assert 18 < alarm_in(alone) < 20.6
    assert Delivery.objects.filter(wake_at__lte=Now()).count() == 3


@pytest.mark.django_db
def test_a_row_in_flight_keeps_its_alarm() -> None:
    head = queue()
    lane.step([head.conversation_id], 0)
    before = alarm_in(head)
    slots.write({head.conversation_id: 500.0})
    assert alarm_in(head) < before + 1


@pytest.mark.django_db(transaction=True)
async def test_what_is_put_off_together_is_written_together(redis_url: str) -> None:
    database = DatabaseThread(lambda: 0)
    heads = [await asyncio.to_thread(_in_thread, queue) for _ in range(3)]
    offers = slots.Slots(database)
    for head in heads:
        offers.put_off(head.conversation_id, 30.0)
    await offers.stop()
    rang = await database.call(
        lambda: Delivery.objects.filter(sweep_at__gt=Now() + timedelta(seconds=25)).count()
    )
    assert rang == 3
    database.stop()


def _in_thread(work: Any) -> Any:
    from django.db import connection

    try:
        return work()
    finally:
        connection.close()


@pytest.mark.django_db
def test_whose_pace_a_lane_goes_by() -> None:
    instance = make_instance()
    assert slots.instance_of(make_conversation(instance).pk) == instance.pk
    assert slots.instance_of(uuid4()) is None


# --- the engine -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_one_lane_worked_alone_keeps_to_the_pace_too(server: None, settings: Any) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 10, 1
    instance = await asyncio.to_thread(_in_thread, lambda: make_instance(base_url="http://127.0.0.1:1"))
    place = await asyncio.to_thread(_in_thread, lambda: make_conversation(instance).pk)
    async with Engine() as engine:
        await engine.pacer.take(instance.pk, 1)
        began = time.monotonic()
        await engine.work(place)
        assert 0.05 < time.monotonic() - began < 3
        await engine.pacer.stop()
        assert (await engine.pacer.take(instance.pk, 1)).permits == 1, "an empty lane uses no permit"
    await close_async_clients()
