"""Redis emptied, killed, out of memory, half-open, in bad company; and what others put into it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import redis
from testing.servers import RedisServer

from drill.proxy import Proxy
from drill.scenario import Drill, scenario
from drill.world import GROUP, SEND_STREAM, WORK_STREAMS

REFILLED_SECONDS = 20.0


def _under_load(drill: Drill, fault: Callable[[], object], rate: float = 60) -> float:
    """Two workers, a load, the fault when a third of it is accepted; seconds from the fault until all is decided."""
    drill.warm_up()
    drill.worker()
    drill.worker()
    with drill.load(rate=rate) as load:
        load.wait(0.35)
        fault()
        struck = time.monotonic()
    drill.settle()
    return time.monotonic() - struck


@contextlib.contextmanager
def _streams(drill: Drill) -> Any:
    with contextlib.closing(drill.world.streams()) as client:
        yield client


@scenario(6, "flushall", "FLUSHALL under load, three times", f"refilled within {REFILLED_SECONDS:g} s")
def flushall(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    drill.worker()
    with drill.load(rate=60) as load, _streams(drill) as client:
        for share in (0.2, 0.5, 0.8):
            load.wait(share)
            client.flushall()
            drill.say("FLUSHALL")
    flushed = time.monotonic()
    drill.settle()
    took = time.monotonic() - flushed
    drill.figure("refilled_after", took)
    drill.check(took <= REFILLED_SECONDS, f"all was decided only {took:.1f} s after the load's end")


@scenario(
    6, "flushall-idle", "FLUSHALL with the whole load waiting and no worker", "the sweeper finds all of it"
)
def flushall_idle(drill: Drill) -> None:
    drill.warm_up()
    drill.write_all()
    with _streams(drill) as client:
        client.flushall()
    drill.say("FLUSHALL; a worker starts")
    drill.worker()
    took = drill.settle()
    drill.check(took <= REFILLED_SECONDS + drill.messages / 50, f"it took {took:.1f} s")


@scenario(
    7, "stream-deleted", "the stream, then only its group, deleted", "made again, without an error storm"
)
def stream_deleted(drill: Drill) -> None:
    drill.warm_up()
    worker = drill.worker()
    with drill.load(rate=60) as load, _streams(drill) as client:
        load.wait(0.3)
        client.delete(*WORK_STREAMS)
        drill.say("both streams deleted")
        load.wait(0.6)
        with contextlib.suppress(redis.ResponseError):
            client.xgroup_destroy(SEND_STREAM, GROUP)
        drill.say("the group destroyed")
    drill.settle()
    complaints = worker.output().count("consumer group is gone")
    drill.figure("complaints", complaints)
    drill.check(complaints <= 20, f"{complaints} lines of complaint about the group")
    with _streams(drill) as client:
        groups = [group["name"] for group in client.xinfo_groups(SEND_STREAM)]
    drill.check(GROUP in groups, "the group was not made again")


def _killed(drill: Drill, away: float) -> None:
    server = drill.world.redis

    def fault() -> None:
        server.kill()
        drill.say("kill -9 of Redis")
        time.sleep(away)
        server.start()
        drill.say("Redis is back")

    drill.figure("decided_after", _under_load(drill, fault))


@scenario(8, "redis-killed", "Redis killed with kill -9 and started again, its append-only file kept")
def redis_killed(drill: Drill) -> None:
    _killed(drill, 1)


@scenario(
    8,
    "redis-killed-empty",
    "Redis killed with kill -9 and started again without what it knew",
    redis={"appendonly": "no"},
)
def redis_killed_empty(drill: Drill) -> None:
    _killed(drill, 1)


@scenario(9, "failover", "a failover to a replica that lost the last writes", proxied=True)
def failover(drill: Drill) -> None:
    replica = drill.world.replica()

    def fault() -> None:
        with contextlib.closing(replica.client()) as client:
            drill.wait_for(
                lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica"
            )
            client.replicaof("NO", "ONE")
            time.sleep(1)
        _proxy(drill).retarget(replica.port)
        drill.world.redis.kill()
        drill.world.redis = replica
        drill.say("failed over to a replica that is a second behind")

    drill.figure("decided_after", _under_load(drill, fault))


@scenario(
    10,
    "redis-away",
    "Redis away for 15 s under load",
    "the API accepts, no request takes 1 s longer, lanes drain from the database meanwhile",
)
def redis_away(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    drill.worker()
    lanes = drill.lanes(12)
    with drill.load(drill.messages // 2, lanes, rate=60):
        pass
    usual = drill.ledger.slowest()
    drill.world.redis.kill()
    gone, before = time.time(), drill.world.accepted_count()
    drill.say("Redis is away")
    with drill.load(drill.messages // 2, lanes, rate=drill.messages / 20):
        pass
    drill.settle()
    drained = drill.world.accepted_count() - before
    slowest = drill.ledger.slowest(since=gone)
    drill.figure("sent_without_redis", drained)
    drill.figure("slowest_before", usual)
    drill.figure("slowest_without_redis", slowest)
    drill.check(slowest <= usual + 1, f"a request took {slowest:.2f} s without Redis ({usual:.2f} s with it)")
    drill.check(drained >= drill.messages // 2, "lanes did not drain from the database while Redis was away")
    time.sleep(max(0.0, 15 - (time.time() - gone)))
    drill.world.redis.start()
    drill.say("Redis is back")
    drill.write_all(50, lanes)
    drill.settle()


def _proxy(drill: Drill) -> Proxy:
    proxy = drill.world.proxy
    if proxy is None:
        raise AssertionError("this scenario needs its proxy")
    return proxy


def _swallowed(drill: Drill, *, then_reset: bool) -> None:
    proxy = _proxy(drill)
    drill.warm_up()
    proxy.swallow(0.2, "XADD", "XREADGROUP", "EVALSHA", "XACK", then_reset=then_reset)
    drill.worker()
    drill.worker()
    with drill.load(rate=60):
        pass
    drill.say(f"{proxy.swallowed} answers of Redis were swallowed")
    proxy.behave()
    drill.settle()
    drill.figure("answers_swallowed", proxy.swallowed)
    drill.check(proxy.swallowed, "no answer was swallowed: the drill did nothing")


@scenario(
    11,
    "swallowed-replies",
    "one in five answers of XADD, XREADGROUP, XACK and scripts swallowed, the connection cut",
    "only extra wake-ups",
    proxied=True,
)
def swallowed_replies(drill: Drill) -> None:
    _swallowed(drill, then_reset=True)


@scenario(
    11,
    "swallowed-silently",
    "as swallowed-replies, and the connection says nothing more instead of ending",
    "only extra wake-ups",
    proxied=True,
)
def swallowed_silently(drill: Drill) -> None:
    _swallowed(drill, then_reset=False)


@scenario(
    12, "half-open", "every connection to Redis half-open: nothing passes, nobody is told",
    "reconnected within 15 s", proxied=True,
)  # fmt: skip
def half_open(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    with drill.load(rate=30) as load:
        load.wait(0.3)
        _proxy(drill).freeze()
        frozen = time.monotonic()
        drill.say("all connections are half-open")
        drill.wait_for(lambda: _somebody_reads_since(drill, frozen), 40, "a new reader")
        took = time.monotonic() - frozen
    drill.figure("reading_again_after", took)
    drill.check(took <= 15, f"nobody read for {took:.1f} s")
    drill.settle()


def _somebody_reads_since(drill: Drill, moment: float) -> bool:
    """Whether a consumer asked for entries after this (monotonic) moment."""
    with _streams(drill) as client:
        idle = [row["idle"] for row in client.xinfo_consumers(SEND_STREAM, GROUP)]
    return any(milliseconds / 1000 < time.monotonic() - moment - 0.2 for milliseconds in idle)


@scenario(
    12, "slow-redis", "every answer of Redis takes 300 ms longer", "no request takes seconds", proxied=True
)
def slow_redis(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    with drill.load(drill.messages // 4, rate=20):
        pass
    _proxy(drill).delay(0.3)
    slow = time.time()
    with drill.load(rate=20):
        pass
    drill.settle()
    _proxy(drill).behave()
    drill.figure("slowest_request", drill.ledger.slowest(since=slow))


@scenario(
    13, "redis-full", "Redis out of memory, without eviction", "rows are safe and drain; work goes on after"
)
def redis_full(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    with drill.load(rate=40) as load, _streams(drill) as client:
        load.wait(0.3)
        client.config_set("maxmemory", "1")
        drill.say("Redis refuses every write")
        load.wait(0.7)
        drill.wait_for(
            lambda: drill.world.accepted_count() > drill.messages * 0.6, 60, "sends from the database"
        )
        client.config_set("maxmemory", "0")
        drill.say("Redis takes writes again")
    drill.settle()


@scenario(14, "redis-evicts", "Redis evicts every key as memory runs short, three times under load",
          "each worker says at its start that it may", redis={"maxmemory_policy": "allkeys-random"})  # fmt: skip
def redis_evicts(drill: Drill) -> None:
    drill.warm_up()
    worker = drill.worker()
    drill.check("may evict" in worker.output(), "the worker did not say that Redis may evict")
    with drill.load(rate=40) as load, _streams(drill) as client:
        for share in (0.2, 0.5, 0.8):
            load.wait(share)
            client.config_set("maxmemory", "1")
            time.sleep(0.5)
            client.config_set("maxmemory", "0")
        evicted = client.info("stats")["evicted_keys"]
    drill.settle()
    drill.figure("evicted_keys", evicted)
    drill.check(evicted, "nothing was evicted: the drill did nothing")


@scenario(
    15,
    "burst",
    "a burst of more than ten times the stream's bound before any worker is there",
    "an alert says so, nothing is trimmed away",
    settings={"CHAT_STREAM_MAXLEN": "15"},
)
def burst(drill: Drill) -> None:
    drill.warm_up()
    drill.write_all(lanes=40)
    waiting = drill.world.left_in_redis()
    drill.figure("waiting", waiting)
    drill.check(waiting >= drill.messages, f"{drill.messages - waiting} wake-ups were trimmed away")
    status = drill.tenant.call("GET", "reactions/queues/status/")
    codes = {alert["code"] for alert in status["alerts"]}
    drill.check("stream_over_bound" in codes, f"no alert about the bound, only {sorted(codes)}")
    drill.worker()
    drill.settle()


@scenario(29, "garbage", "entries nobody can read: empty, cut off, deep, huge, of another version",
          "dead-lettered or parked; the loops live")  # fmt: skip
def garbage(drill: Drill) -> None:
    drill.warm_up()
    worker = drill.worker()
    with drill.load(rate=60) as load, _streams(drill) as client:
        load.wait(0.3)
        for fields in _garbage(drill):
            for stream in WORK_STREAMS:
                client.xadd(stream, fields)
        _garbage_for_lists(drill.world.redis)
        drill.say("garbage is in every queue")
    drill.settle()
    drill.check(worker.running, "the worker ended")
    with _streams(drill) as client:
        drill.figure("dead_letters", client.xlen("chat:stream:dead_letter"))


def _garbage(drill: Drill) -> list[dict[Any, Any]]:
    ghost = f'{{"message_id": "{"0" * 8}-0000-7000-8000-{"0" * 12}"}}'
    noise = bytes(drill.rng.randrange(256) for _ in range(64))
    texts: list[str | bytes] = ["", "{", "[]", "null", "7", ghost, '{"message_id": "x"}', '{"v": 99}', noise]
    texts += ["[" * 20_000, "x" * 1_000_000, '{"message_id": null, "conversation_id": 5}']
    return [{"foo": "bar"}, {b"\xff": b"\xfe"}, *({"payload": text} for text in texts)]


def _garbage_for_lists(server: RedisServer) -> None:
    with contextlib.closing(redis.Redis(port=server.port, db=2)) as client:
        for text in ("", "{", "[]", '{"message_id": "x"}', b"\xff\x00"):
            client.lpush("chat:queue:send_message", text)


@scenario(8, "redis-wiped", "Redis killed, its data directory emptied, started again")
def redis_wiped(drill: Drill) -> None:
    server = drill.world.redis

    def fault() -> None:
        server.kill()
        for leftover in (server.directory / "appendonlydir", server.directory / "dump.rdb"):
            shutil.rmtree(leftover, ignore_errors=True)
        server.start()
        drill.say("Redis came back empty")

    drill.figure("decided_after", _under_load(drill, fault))
