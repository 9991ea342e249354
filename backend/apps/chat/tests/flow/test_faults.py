"""What a deployment suffers, and the one line that must hold after it: nothing lost, nothing doubled, order kept."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from testing import servers
from testing.waiting import eventually

from apps.chat.models import Delivery
from apps.chat.tests.flow.world import CLEAN, World, build, spread


def warm_up(world: World) -> None:
    """One message that surely went out: without it, absence of a later one could never be told."""
    worker = world.worker()
    world.wait_until(world.send(world.conversation("5511400009999")), "delivered", "seen")
    worker.stop()


@pytest.mark.parametrize("step", ["read", "step", "bytes_out", "answer", "finalize", "ack"])
def test_a_worker_that_dies_at_a_step(world: World, step: str) -> None:
    warm_up(world)
    dying = world.worker(CHAT_FAIL_AT=f"{step}:exit")
    lanes = spread(world, 3)
    for n in range(12):
        world.send(lanes[n % 3])
    dying.wait(20)
    began = time.monotonic()
    world.worker()
    world.settle(within=40)
    assert world.verdict() == CLEAN
    assert set(Delivery.objects.values_list("state", flat=True)) == {Delivery.State.SENT}
    assert time.monotonic() - began < 40


@pytest.mark.slow
def test_workers_killed_in_a_loop_under_load(world: World, redis_client: object) -> None:
    warm_up(world)
    lanes = spread(world, 12)
    worker = world.worker()
    for n in range(240):
        world.send(lanes[n % len(lanes)])
        if n % 40 == 39:
            worker.kill()
            worker.start()
        if n == 120:
            redis_client.flushall()  # type: ignore[attr-defined]
    world.settle(within=90)
    assert world.verdict() == CLEAN


@pytest.mark.slow
def test_redis_stopped_and_started(child_env: Mapping[str, str]) -> None:
    with servers.valkey() as redis, build({**child_env, "REDIS_URL": redis.url}) as world:
        warm_up(world)
        lanes = spread(world, 4)
        world.worker()
        for n in range(20):
            world.send(lanes[n % 4])
        redis.kill()
        slowest = 0.0
        during = []
        for n in range(20):
            began = time.monotonic()
            during.append(world.send(lanes[n % 4]))
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2, "a request must not wait for a Redis that is away"
        for message in during:
            world.wait_until(message, "submitted", "sent", "delivered", "seen", within=40)
        redis.start()
        for n in range(20):
            world.send(lanes[n % 4])
        world.settle(within=60)
        assert world.verdict() == CLEAN


@pytest.mark.slow
def test_sigterm_with_a_hundred_in_flight(world: World) -> None:
    warm_up(world)
    world.simulator.control(
        "POST", "faults", {"match": {"endpoint": "sendText"}, "accept": True, "delay": 1.0}
    )
    worker = world.worker(CHAT_SEND_CONCURRENCY="64")
    lanes = spread(world, 100)
    for lane in lanes:
        world.send(lane)
    eventually(lambda: Delivery.objects.filter(state=1).count() >= 20, 10, "sends in flight")
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 30
    assert not Delivery.objects.filter(state__in=(1, 2)).exists(), "nothing was left unclear"
    world.worker()
    world.settle()
    assert world.verdict() == CLEAN


@pytest.mark.parametrize("preset", ["E7", "E8", "E12", "E20", "E22"])
def test_accepted_but_answered_otherwise_is_not_sent_again(world: World, preset: str) -> None:
    warm_up(world)
    world.worker()
    world.simulator.control("POST", "faults", {"preset": preset, "times": 1, "evidence": True})
    lane = world.conversation("5511400003333")
    messages = [world.send(lane) for _ in range(3)]
    for message in messages:
        world.wait_until(message, "submitted", "sent", "delivered", "seen", within=40)
    assert world.verdict() == CLEAN


def test_accepted_and_stored_nowhere_is_held_for_a_person(world: World) -> None:
    warm_up(world)
    world.worker()
    world.simulator.control("POST", "faults", {"preset": "E12", "times": 1})
    lane = world.conversation("5511400003333")
    first, second = world.send(lane), world.send(lane)
    assert world.wait_until(first, "held", within=40)["reason"] == "evidence_missing"
    assert world.message(second)["status"] == "queued", "the lane waits behind what a person must decide"
    answer = world.http.post(f"/api/chat/messages/{first}/release/", json={"action": "discard"})
    assert answer.status_code == 200, answer.text
    world.wait_until(second, "delivered", "seen")
    assert world.verdict() == CLEAN


@pytest.mark.parametrize("preset", ["E8", "E20", "E22"])
def test_not_accepted_and_unclear_is_sent_again_once(world: World, preset: str) -> None:
    lane = world.conversation("5511400009999")
    warm_up(world)
    world.worker()
    world.simulator.control("POST", "faults", {"preset": preset, "times": 1, "accept": False})
    messages = [world.send(lane) for _ in range(3)]
    for message in messages:
        world.wait_until(message, "submitted", "sent", "delivered", "seen", within=40)
    assert world.verdict() == CLEAN
    assert world.message(messages[0])["attempts"] == 2


def test_a_disconnected_number_burns_no_try(world: World) -> None:
    warm_up(world)
    world.worker()
    world.simulator.control("POST", "instances/flow/state", {"state": "close", "reason": 401})
    lane = world.conversation("5511400004444")
    messages = [world.send(lane) for _ in range(3)]
    time.sleep(3)
    assert {world.message(message)["status"] for message in messages} <= {"queued", "retrying"}
    world.simulator.control("POST", "instances/flow/state", {"state": "open"})
    for message in messages:
        world.wait_until(message, "submitted", "sent", "delivered", "seen", within=40)
    assert set(Delivery.objects.values_list("tries", flat=True)) == {1}
    assert world.verdict() == CLEAN


def test_garbage_on_the_stream_is_buried_and_the_loop_lives(world: World) -> None:
    from apps.chat.redis_streams import get_stream_metrics, get_stream_redis_client

    world.worker()
    client = get_stream_redis_client()
    for fields in ({"foo": "bar"}, {"payload": "{"}, {"payload": "[]"}, {"payload": '{"message_id": "x"}'}):
        client.xadd("chat:stream:send_message", fields)
    client.xadd("chat:stream:send_message", {"payload": "x" * 1_000_000})
    world.wait_until(world.send(world.conversation("5511400001111")), "delivered", "seen")
    eventually(lambda: get_stream_metrics()["dead_letter_stream"]["length"] == 5, 10, "five dead letters")
    metrics = get_stream_metrics()["send_message_stream"]
    assert (metrics["length"], metrics["pending"]) == (0, 0)
