"""Dramatiq on Redis: one process, eight threads (its own default)."""

import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from tally import PAYLOAD, Tally, asked, told

DO, GIVEN = asked()
TALLY = Tally(GIVEN["jobs"])
BROKER = RedisBroker(url=GIVEN["url"])
dramatiq.set_broker(BROKER)


@dramatiq.actor
def job(payload):
    if GIVEN["wait"]:
        time.sleep(GIVEN["wait"])
    TALLY.one()


if DO == "fill":
    began = time.perf_counter()
    for _ in range(GIVEN["jobs"]):
        job.send(PAYLOAD)
    told(began, GIVEN["jobs"])
else:
    TALLY.tell_and_leave()
    dramatiq.Worker(BROKER, worker_threads=GIVEN.get("threads", 8)).start()
    TALLY.wait()
    time.sleep(5)
