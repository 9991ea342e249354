"""A number that is closed, flapping, throttled; a bulk beside a conversation."""

from __future__ import annotations

import statistics
import time

from drill.load import Lane
from drill.oracle import Owed
from drill.scenario import Drill, scenario
from drill.world import Tenant


@scenario(
    24, "closed-number", "the number is closed for 20 s with the load queued",
    "no try is burnt; released in order",
)  # fmt: skip
def closed_number(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    drill.world.link("close", reason=401)
    drill.say("the number is closed")
    before = drill.world.accepted_count()
    drill.write_all(lanes=20)
    time.sleep(20)
    drill.check(drill.world.accepted_count() == before, "something left while the number was closed")
    drill.world.link("open")
    drill.say("the number is open again")
    took = drill.settle()
    drill.figure("released_after", took)
    _no_try_burnt(drill)


def _no_try_burnt(drill: Drill) -> None:
    rows = drill.rows().values()
    drill.figure("most_attempts", max(row.attempts for row in rows))
    drill.check(max(row.tries for row in rows) == 1, "tries were burnt")


@scenario(25, "flapping", "the number closes and opens every half second under load", "bounded probes")
def flapping(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    probes = drill.world.asked("connectionState")
    with drill.load(rate=drill.messages / 15) as load:
        while not load.over:
            drill.world.link("close", reason=401)
            time.sleep(drill.rng.uniform(0.2, 0.8))
            drill.world.link("open")
            time.sleep(drill.rng.uniform(0.2, 0.8))
    drill.settle()
    probes = drill.world.asked("connectionState") - probes
    drill.figure("probes", probes)
    drill.check(probes <= 60, f"{probes} probes")
    _no_try_burnt(drill)


@scenario(
    26, "rate-overlimit", "WhatsApp answers rate-overlimit twelve times under load", "waits, burns no try"
)
def rate_overlimit(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    drill.world.fault(preset="E10", times=12)
    drill.write_all(lanes=20)
    drill.settle(drill.world.times.patience * 3)
    _no_try_burnt(drill)


@scenario(
    27, "bulk-beside-one", "one tenant sends in bulk, another one message at a time",
    "the other's messages leave about as soon as ever",
    tenants=2, simulator=("--latency", "0.02", "0.06"),
)  # fmt: skip
def bulk_beside_one(drill: Drill) -> None:
    bulk, other = drill.world.tenants
    drill.warm_up(bulk)
    worker = drill.worker()
    lane = drill.lanes(1, other)[0]
    idle = _latencies(drill, lane, other, 20)
    worker.stop()
    with drill.load(min(5 * drill.messages, 3000), lanes=drill.lanes(60, bulk), tenant=bulk):
        pass
    waiting = drill.world.database.number("SELECT count(*) FROM chat_delivery WHERE state < 10")
    drill.worker()
    drill.say(f"a bulk of {waiting} leaves beside the other tenant's messages")
    busy = _latencies(drill, lane, other, 20)
    left = drill.world.database.number("SELECT count(*) FROM chat_delivery WHERE state < 10")
    drill.check(left, "the bulk was gone too soon to be in anybody's way: the drill showed nothing")
    drill.settle()
    drill.figure("bulk", waiting)
    drill.figure("bulk_left", left)
    drill.figure("idle_p95", _p95(idle))
    drill.figure("busy_p95", _p95(busy))
    drill.figure("ratio", _p95(busy) / max(_p95(idle), 0.001))
    drill.check(
        _p95(busy) < 2 + 5 * _p95(idle), f"p95 {_p95(busy):.2f} s beside a bulk, {_p95(idle):.2f} s idle"
    )


def _latencies(drill: Drill, lane: Lane, tenant: Tenant, count: int) -> list[float]:
    """Seconds from a request to the acceptance of each of these messages."""
    posted: list[Owed] = []
    for _ in range(count):
        posted.append(drill.post(lane, tenant=tenant))
        time.sleep(0.1)
    texts = {message.text: message.posted_at for message in posted}

    def arrived() -> list[float]:
        return [sent.at - texts[sent.text] for sent in drill.world.accepted() if sent.text in texts]

    drill.wait_for(lambda: len(arrived()) >= count, 60, "the other tenant's messages")
    return arrived()


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else 0.0
