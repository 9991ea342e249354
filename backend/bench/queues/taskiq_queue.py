"""taskiq on Redis streams, with acknowledgement; one process, 256 tasks at once."""

import asyncio
import time

from tally import PAYLOAD, Tally, asked, told
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

DO, GIVEN = asked()
TALLY = Tally(GIVEN["jobs"])
BROKER = RedisStreamBroker(GIVEN["url"])


@BROKER.task(task_name="job")
async def job(payload: str) -> None:
    if GIVEN["wait"]:
        await asyncio.sleep(GIVEN["wait"])
    TALLY.one()


async def fill():
    await BROKER.startup()
    began = time.perf_counter()
    for _ in range(GIVEN["jobs"]):
        await job.kiq(PAYLOAD)
    told(began, GIVEN["jobs"])
    await BROKER.shutdown()


async def work():
    TALLY.tell_and_leave()
    BROKER.is_worker_process = True
    await run_receiver_task(BROKER, max_async_tasks=256, run_startup=True)


asyncio.run(fill() if DO == "fill" else work())
