"""RQ: one worker without a fork for each job (its SimpleWorker), which flatters it."""

import logging
import sys
import time

import redis
import rq
from tally import PAYLOAD, Tally, asked, told

TALLY = None
WAIT = 0


def job(payload):
    if WAIT:
        time.sleep(WAIT)
    TALLY.one()


if __name__ == "__main__":
    do, given = asked()
    sys.modules["rq_queue"] = sys.modules["__main__"]
    TALLY, WAIT = Tally(given["jobs"]), given["wait"]
    logging.disable(logging.INFO)
    connection = redis.Redis.from_url(given["url"])
    queue = rq.Queue("bench", connection=connection)
    if do == "fill":
        began = time.perf_counter()
        for _ in range(given["jobs"]):
            queue.enqueue("rq_queue.job", PAYLOAD, result_ttl=0)
        told(began, given["jobs"])
    else:
        rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")
        TALLY.wait(1)
        TALLY.tell()
