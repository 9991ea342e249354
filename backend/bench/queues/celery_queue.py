"""Celery on Redis, prefork with two children, late acknowledgement, no results.

The processor time told is that of the parent alone.
"""

import time

from celery import Celery
from tally import PAYLOAD, Tally, asked, told

DO, GIVEN = asked()
TALLY = Tally(GIVEN["jobs"])
APP = Celery("bench", broker=GIVEN["url"])
APP.conf.update(
    task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=64, worker_redirect_stdouts=False
)


@APP.task(name="job")
def job(payload):
    if GIVEN["wait"]:
        time.sleep(GIVEN["wait"])
    TALLY.one()


if DO == "fill":
    began = time.perf_counter()
    for _ in range(GIVEN["jobs"]):
        job.delay(PAYLOAD)
    told(began, GIVEN["jobs"])
else:
    TALLY.tell_and_leave()
    QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
    APP.worker_main(["-q", "worker", "-c", "2", *QUIET])
