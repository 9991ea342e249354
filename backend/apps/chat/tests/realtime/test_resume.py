"""Coming back: exactly what was missed, in order, each once; or the word that it cannot be told."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest
from django.conf import settings
from testing.servers import RedisServer

from apps.chat.realtime import broadcast, consumer, hub, log
from apps.chat.redis_clients import sync_client
from apps.chat.tests.api.world import Team
from apps.chat.tests.realtime.conftest import Connect


def _publish(team: Team, *numbers: int) -> None:
    for n in numbers:
        broadcast.publish(team.tenant.pk, {"type": "typing", "n": n})
    assert broadcast.flush(5)


def _ns(frames: list[Any]) -> list[int]:
    return [frame["n"] for frame in frames if "n" in frame]


async def test_events_come_in_order_without_holes(team: Team, connect: Connect) -> None:
    socket = await connect(team)
    last = await socket.ready()

    _publish(team, *range(50))

    await socket.heard("typing", 50)
    assert _ns(socket.frames) == list(range(50))
    assert socket.numbers == list(range(last + 1, last + 51))


async def test_what_was_missed_is_told_once(team: Team, connect: Connect) -> None:
    first = await connect(team)
    last = await first.ready()
    await first.close()
    _publish(team, *range(20))

    second = await connect(team)
    await second.say("resume", last_seq=last)
    await second.barrier()
    _publish(team, 20)

    await second.heard("typing", 21)
    assert _ns(second.frames) == list(range(21))


async def test_resuming_at_the_end_tells_nothing(team: Team, connect: Connect) -> None:
    socket = await connect(team)
    last = await socket.ready()

    await socket.say("resume", last_seq=last)
    await socket.barrier()

    assert socket.numbers == []


async def test_the_position_is_what_was_sent(team: Team, connect: Connect) -> None:
    socket = await connect(team)
    await socket.ready()
    _publish(team, 1, 2)
    await socket.heard("typing", 2)

    assert await socket.barrier() == socket.numbers[-1]


@pytest.mark.parametrize("last_seq", [0, 1, 2**53 - 1])
async def test_a_number_out_of_reach_needs_a_resync(team: Team, connect: Connect, last_seq: int) -> None:
    socket = await connect(team)

    await socket.say("resume", last_seq=last_seq)

    assert (await socket.heard("resync_required"))[0]["seq"] > 0
    _publish(team, 1)
    await socket.heard("typing")


async def test_the_log_is_bounded(team: Team, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CHAT_REALTIME_KEEP", 10)
    first = await connect(team)
    last = await first.ready()
    _publish(team, *range(15))
    await first.heard("typing", 15)

    second, third = await connect(team), await connect(team)
    await second.say("resume", last_seq=last)
    await third.say("resume", last_seq=last + 5)

    await second.heard("resync_required")
    assert _ns(await third.heard("typing", 10)) == list(range(5, 15))
    client = sync_client(settings.CHANNELS_REDIS_URL)
    assert client.llen(log.keys(team.tenant.pk)[1]) == 10
    assert 0 < client.ttl(log.keys(team.tenant.pk)[1]) <= log.LOG_SECONDS


async def test_nothing_is_lost_or_doubled_while_events_race_in(team: Team, connect: Connect) -> None:
    """Drop the socket again and again under traffic; one client's view must be the whole sequence."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stop = threading.Event()
    sent = 0

    def traffic() -> None:
        nonlocal sent
        while not stop.is_set():
            broadcast.publish(team.tenant.pk, {"type": "typing", "n": sent})
            sent += 1
            time.sleep(chance.random() * 0.002)

    socket = await connect(team)
    start = last = await socket.ready()
    seen: list[int] = []
    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        for _ in range(25):
            await asyncio.sleep(chance.random() * 0.03)
            await socket.close()
            assert not [frame for frame in socket.frames if frame["type"] == "resync_required"]
            seen += socket.numbers
            last = seen[-1] if seen else last
            await asyncio.sleep(chance.random() * 0.02)
            socket = await connect(team)
            await socket.say("subscribe")
            await socket.say("resume", last_seq=last)
            await socket.barrier()
    finally:
        stop.set()
        thread.join()
    assert broadcast.flush(5)
    await socket.until(lambda: (seen + socket.numbers)[-1] == start + sent)

    assert seen + socket.numbers == list(range(start + 1, start + sent + 1))


async def test_two_processes_publish_in_one_order(team: Team, connect: Connect) -> None:
    socket = await connect(team)
    last = await socket.ready()
    publishers = [broadcast.Publisher() for _ in range(3)]

    for n in range(300):
        publishers[n % 3].put(str(team.tenant.pk), {"type": "typing", "n": n})

    await socket.heard("typing", 300)
    assert socket.numbers == list(range(last + 1, last + 301))
    assert sorted(_ns(socket.frames)) == list(range(300))


async def test_what_the_subscription_missed_is_read_from_the_log(
    team: Team, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.2)
    socket = await connect(team)
    await socket.ready()
    sync_client(settings.CHANNELS_REDIS_URL).client_kill_filter(_type="pubsub")

    _publish(team, *range(5))

    await socket.heard("typing", 5)
    assert _ns(socket.frames) == list(range(5))
    _publish(team, 5)
    await socket.heard("typing", 6)


async def test_a_flushed_redis_needs_a_resync_and_never_repeats_a_number(
    team: Team, connect: Connect
) -> None:
    socket = await connect(team)
    await socket.ready()
    _publish(team, 1)
    await socket.heard("typing")

    sync_client(settings.CHANNELS_REDIS_URL).flushall()
    await asyncio.sleep(0.01)
    _publish(team, 2)

    await socket.heard("resync_required")
    _publish(team, 3)
    await socket.until(lambda: 3 in _ns(socket.frames))
    assert socket.numbers == sorted(set(socket.numbers))


async def test_a_redis_that_comes_back_older_never_repeats_a_number(team: Team, connect: Connect) -> None:
    """A replica that had not got the last writes takes over."""
    socket = await connect(team)
    last = await socket.ready()
    _publish(team, *range(5))
    await socket.heard("typing", 5)

    sync_client(settings.CHANNELS_REDIS_URL).set(log.keys(team.tenant.pk)[0], last + 2)
    _publish(team, 5)

    await socket.heard("resync_required")
    _publish(team, 6)
    await socket.until(lambda: 6 in _ns(socket.frames))
    assert socket.numbers == sorted(set(socket.numbers))


async def test_an_outage_ends_with_a_resync(
    team: Team, connect: Connect, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await connect(team)
    await socket.ready()
    _publish(team, 1)
    await socket.heard("typing")

    own_redis.kill()
    began = time.monotonic()
    for n in range(500):
        broadcast.publish(team.tenant.pk, {"type": "typing", "n": 1000 + n})
    assert time.monotonic() - began < 0.5
    broadcast.flush(10)
    own_redis.start()

    await socket.heard("resync_required", within=15)
    await socket.until(lambda: not broadcast._publisher._lost, within=10)
    _publish(team, 2)
    await socket.until(lambda: 2 in _ns(socket.frames), within=15)
    assert socket.numbers == sorted(socket.numbers)
    away = [record for record in caplog.records if "is away" in record.message]
    assert len({record.message for record in away}) == len(away)


async def test_one_connects_while_redis_is_away(team: Team, connect: Connect, own_redis: RedisServer) -> None:
    own_redis.kill()
    socket = await connect(team)
    await socket.say("subscribe")
    assert (await socket.heard("subscribed"))[0]["last_seq"] == 0
    await socket.say("resume", last_seq=5)
    await socket.heard("resync_required")

    own_redis.start()

    await socket.heard("resync_required", 2, within=15)
    _publish(team, 1)
    await socket.heard("typing", within=15)


async def test_a_client_too_slow_to_follow_is_told_to_fetch_anew(
    team: Team, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "OUTBOX_LONGEST", 20)
    monkeypatch.setattr(consumer, "HOLD_SECONDS", 1.5)
    socket = await connect(team)
    await socket.say("subscribe")
    await socket.heard("subscribed")

    _publish(team, *range(100))

    await socket.heard("resync_required")
    await socket.until(lambda: 99 in _ns(socket.frames))
    assert len(_ns(socket.frames)) < 100
    assert socket.numbers == sorted(set(socket.numbers))


async def test_a_hub_ends_with_its_last_socket(team: Team, connect: Connect) -> None:
    one, two = await connect(team), await connect(team)
    await one.ready()
    await two.ready()
    its_hub = hub.hub()

    await one.close()
    assert its_hub._tasks
    await two.close()

    assert not its_hub._tasks
    assert hub.hub() is not its_hub
    three = await connect(team)
    await three.ready()
    _publish(team, 1)
    await three.heard("typing")
