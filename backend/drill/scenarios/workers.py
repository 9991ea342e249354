"""Workers that die, stop, hang or are told to end."""

from __future__ import annotations

import time
from collections.abc import Collection

from testing.servers import StreamWorker

from drill.scenario import Drill, scenario

STEPS = ("read", "step", "bytes_out", "answer", "finalize", "ack")


def _killed_at(step: str) -> None:
    @scenario(
        1,
        f"kill-at-{step.replace('_', '-')}",
        f"a worker dies, as by kill -9, at the point `{step}` of a send",
        "decided within the time a dead worker is noticed in, plus lease and settle time",
    )
    def killed(drill: Drill) -> None:
        drill.warm_up()
        dying = drill.worker(CHAT_FAIL_AT=f"{step}:exit")
        lanes = drill.lanes(12)
        with drill.load(lanes=lanes, rate=100):
            dying.wait(60)
            drill.say(f"the worker died at {step} with code {dying.returncode}")
            in_hand = drill.in_hand()
            drill.worker()
            _decided_in_time(drill, in_hand)
        drill.settle()


def _decided_in_time(drill: Drill, in_hand: Collection[str]) -> None:
    """What a worker held when it died; what only waited behind it leaves at its number's pace."""
    times = drill.world.times
    bound = times.dead + times.settle + times.lease + 20
    took = drill.wait_decided(in_hand, bound)
    drill.figure("in_hand", len(in_hand))
    drill.figure("decided_after_death", took)


for _step in STEPS:
    _killed_at(_step)


@scenario(
    1,
    "kill-in-flight",
    "kill -9 of a worker with 100 messages in flight and a backlog behind them",
    "decided within the time a dead worker is noticed in, plus lease and settle time",
    simulator=("--latency", "1", "2"),
    settings={"CHAT_SEND_CONCURRENCY": "80"},
)
def kill_in_flight(drill: Drill) -> None:
    drill.warm_up()
    dying = _hundred_in_flight(drill)
    dying.kill()
    drill.say("kill -9")
    in_hand = drill.in_hand()
    drill.worker()
    _decided_in_time(drill, in_hand)
    drill.settle()


def _hundred_in_flight(drill: Drill) -> StreamWorker:
    """A backlog, and a worker in the middle of it."""
    drill.write_all(max(drill.messages, 300), lanes=180)
    worker = drill.worker()
    drill.wait_for(lambda: _sending(drill) >= 100, 40, "100 messages in flight")
    drill.figure("in_flight", _sending(drill))
    return worker


@scenario(2, "kill-loop", "workers killed with kill -9 again and again under load")
def kill_loop(drill: Drill) -> None:
    drill.warm_up()
    kills = max(8, drill.messages // 40)
    workers = [drill.worker(), drill.worker()]
    with drill.load(rate=drill.messages / (kills * 2)):
        for n in range(kills):
            victim = workers[n % 2].wait_ready(60)
            time.sleep(drill.rng.uniform(0.1, 1.2))
            victim.kill()
            drill.say(f"kill -9 number {n + 1} of {kills}")
            victim.launch()
    for worker in workers:
        worker.wait_ready(60)
    drill.settle()
    drill.figure("kills", kills)


@scenario(3, "paused-worker", "a worker stopped by SIGSTOP for longer than its lease, then continued")
def paused_worker(drill: Drill) -> None:
    drill.warm_up()
    paused = drill.worker()
    with drill.load(lanes=24, rate=60) as load:
        load.wait(0.3)
        paused.pause()
        drill.say("one worker is stopped")
        drill.worker()
        load.wait(0.9)
    time.sleep(drill.world.times.lease + 2)
    drill.say("and goes on")
    paused.resume()
    drill.settle()


@scenario(
    4,
    "sigterm",
    "SIGTERM while 100 messages are in flight",
    "it ends within 30 s and leaves nothing unclear",
    simulator=("--latency", "1", "2"),
    settings={"CHAT_SEND_CONCURRENCY": "80"},
)
def sigterm(drill: Drill) -> None:
    drill.warm_up()
    leaving = _hundred_in_flight(drill)
    began = time.monotonic()
    leaving.terminate()
    code = leaving.wait(60)
    took = time.monotonic() - began
    drill.figure("stopped_after", took)
    drill.check(code == 0, f"the worker ended with code {code}")
    drill.check(took <= 30, f"it took {took:.1f} s to end")
    unclear = drill.world.database.number("SELECT count(*) FROM chat_delivery WHERE state IN (1, 2)")
    drill.check(not unclear, f"{unclear} messages were left unclear")
    drill.worker()
    drill.settle()


def _sending(drill: Drill) -> int:
    return drill.world.database.number("SELECT count(*) FROM chat_delivery WHERE state = 1")


def _blocked_at(step: str) -> None:
    seconds = 20

    @scenario(
        5,
        f"blocked-at-{step.replace('_', '-')}",
        f"a worker's event loop is blocked for {seconds} s at the point `{step}`",
        "another worker takes its rows over",
    )
    def blocked(drill: Drill) -> None:
        drill.warm_up()
        stuck = drill.worker(CHAT_FAIL_AT=f"{step}:sleep={seconds}")
        lanes = drill.lanes(12)
        with drill.load(lanes=lanes, rate=60):
            drill.wait_for(lambda: "fail point reached" in stuck.output(), 40, "the block")
            drill.say("one worker is blocked, another one starts")
            drill.worker()
        took = drill.settle()
        drill.figure("decided_beside_a_blocked_worker", took)
        _wait_for_wake(drill, stuck, seconds)
        drill.settle()

    def _wait_for_wake(drill: Drill, stuck: StreamWorker, seconds: float) -> None:
        """What it does when it comes to itself must be harmless."""
        time.sleep(seconds)
        drill.say("the blocked worker came to itself; it is stopped now")
        stuck.terminate()
        time.sleep(2)
        stuck.kill()


for _step in ("step", "bytes_out", "answer"):
    _blocked_at(_step)


@scenario(
    28,
    "poison",
    "a delivery that kills its worker each time",
    "failed at the cap; its lane and the others go on",
    settings={"CHAT_STREAM_MAX_RETRIES": "3"},
)
def poison(drill: Drill) -> None:
    drill.warm_up()
    lane = drill.lanes(1)[0]
    bad = drill.post(lane)
    deaths = 0
    while drill.status(bad) != "failed":
        drill.check(deaths < 10, "ten workers died of one delivery, and it is not failed yet")
        if deaths >= 10:
            break
        dying = drill.worker(CHAT_FAIL_AT="bytes_out:exit")
        drill.wait_for(lambda: not dying.running or drill.status(bad) == "failed", 60, "its end")  # noqa: B023
        dying.kill()
        deaths += 1
        drill.say(f"death {deaths}: the delivery is {drill.status(bad)}")
    drill.may_fail = True
    drill.figure("deaths", deaths)
    after = [drill.post(lane) for _ in range(5)]
    drill.write_all(20, lanes=4)
    drill.worker()
    drill.settle()
    drill.check(drill.status(bad) == "failed", "the poison is not failed")
    drill.check(
        all(drill.status(message) not in ("failed", "held") for message in after), "its lane did not go on"
    )
