"""Everything at once, in an order that the seed decides."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from testing.servers import Process, StreamWorker

from drill.database import Postgres, Sqlite
from drill.scenario import Drill, scenario
from drill.scenarios.provider import ANSWERS

Strike = Callable[[Drill, list[StreamWorker]], None]


def _kill_a_worker(drill: Drill, workers: list[StreamWorker]) -> None:
    victim = drill.rng.choice(workers).wait_ready(60)
    victim.kill()
    victim.launch()


def _stop_a_worker(drill: Drill, workers: list[StreamWorker]) -> None:
    victim = drill.rng.choice(workers)
    victim.pause()
    time.sleep(drill.rng.uniform(1, drill.world.times.lease + 3))
    victim.resume()


def _flush(drill: Drill, _: list[StreamWorker]) -> None:
    with contextlib.closing(drill.world.streams()) as client:
        client.flushall()


def _kill_redis(drill: Drill, _: list[StreamWorker]) -> None:
    drill.world.redis.kill()
    time.sleep(drill.rng.uniform(0.2, 3))
    drill.world.redis.start()


def _trouble_the_database(drill: Drill, _: list[StreamWorker]) -> None:
    database = drill.world.database
    if isinstance(database, Postgres):
        database.terminate_backends()
    elif isinstance(database, Sqlite):
        with database.locked():
            time.sleep(drill.rng.uniform(0.5, 3))


def _break_answers(drill: Drill, _: list[StreamWorker]) -> None:
    answer = ANSWERS[drill.rng.choice(sorted(ANSWERS))]
    drill.world.fault(**answer, accept=drill.rng.random() < 0.5, times=drill.rng.randrange(1, 5))


def _close_the_number(drill: Drill, _: list[StreamWorker]) -> None:
    drill.world.link("close", reason=401)
    time.sleep(drill.rng.uniform(0.5, 4))
    drill.world.link("open")


STRIKES: Final[dict[str, Strike]] = {
    "worker killed": _kill_a_worker,
    "worker stopped": _stop_a_worker,
    "Redis flushed": _flush,
    "Redis killed": _kill_redis,
    "database troubled": _trouble_the_database,
    "answers broken": _break_answers,
    "number closed": _close_the_number,
}


@scenario(
    36,
    "mixture",
    "all of it under load, in a random order: workers, Redis, database, Evolution's answers, the number",
    "memory stays, streams end empty",
    settings={"CHAT_STREAM_MAX_RETRIES": "20"},  # no message is poison here, however often its worker dies
)
def mixture(drill: Drill) -> None:
    drill.warm_up()
    workers = [drill.worker(), drill.worker()]
    struck: Counter[str] = Counter()
    with drill.load(drill.messages // 4, rate=20):
        pass
    before = _resident_mb(drill.world.web)
    with drill.load(rate=max(4, drill.messages / 90)) as load:  # a minute and a half, or nearly
        while not load.over:
            name = drill.rng.choice(sorted(STRIKES))
            struck[name] += 1
            STRIKES[name](drill, workers)
            drill.say(name)
            time.sleep(drill.rng.uniform(0.2, 2))
    for worker in workers:
        worker.wait_ready(60)
    drill.settle(drill.world.times.patience * 2)
    drill.figure("strikes", struck.total())
    drill.figure("server_mb", f"{before:.0f} to {_resident_mb(drill.world.web):.0f}")


def _resident_mb(process: Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
