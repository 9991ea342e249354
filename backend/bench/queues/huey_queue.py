"""Huey on Redis: eight threads. It pops, so that a killed worker loses what it holds."""

import time

from huey import RedisHuey
from tally import PAYLOAD, Tally, asked, told

DO, GIVEN = asked()
TALLY = Tally(GIVEN["jobs"])
HUEY = RedisHuey("bench", url=GIVEN["url"], results=False)


@HUEY.task()
def job(payload):
    if GIVEN["wait"]:
        time.sleep(GIVEN["wait"])
    TALLY.one()


if DO == "fill":
    began = time.perf_counter()
    for _ in range(GIVEN["jobs"]):
        job(PAYLOAD)
    told(began, GIVEN["jobs"])
else:
    TALLY.tell_and_leave()
    HUEY.create_consumer(workers=8, worker_type="thread", periodic=False).start()
    TALLY.wait()
    time.sleep(5)
