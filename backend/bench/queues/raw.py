"""The yardstick: XREADGROUP COUNT 256, a task for each entry, pipelined XACK and XDEL. Nothing else is promised."""

import asyncio
import contextlib
import json
import time
import uuid

import redis
import redis.asyncio
from tally import asked, told

STREAM, GROUP, FIELD = "bench:raw", "g", "payload"
MOST = 1024


def payload(n=None):
    """What our own wake-ups look like; the first id tells the time."""
    ids = {
        "message_id": uuid.UUID(int=n if n is not None else time.time_ns()),
        "conversation_id": ID,
        "instance_id": ID,
    }
    return json.dumps({name: str(value) for name, value in ids.items()}, separators=(",", ":"))


ID = uuid.UUID("01890000-0000-7000-8000-000000000000")


def fill(url, jobs, wait):
    """Enqueue in pipelines of 5,000."""
    client = redis.Redis.from_url(url)
    ready = payload()
    began = time.perf_counter()
    for start in range(0, jobs, 5000):
        pipe = client.pipeline(transaction=False)
        for _ in range(min(5000, jobs - start)):
            pipe.xadd(STREAM, {FIELD: ready})
        pipe.execute()
    told(began, jobs)


async def work(url, jobs, wait, latency=False):
    """Work them off; with `latency`, print how long each was on its way, in milliseconds."""
    client = redis.asyncio.Redis.from_url(url, decode_responses=True)
    with contextlib.suppress(redis.ResponseError):
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    done, running, waits, began, cpu = [], set(), [], None, 0.0
    if latency:
        print("ready", flush=True)

    async def handle(entry_id, text):
        if latency:
            waits.append((time.time_ns() - int(uuid.UUID(json.loads(text)["message_id"]))) / 1e6)
        if wait:
            await asyncio.sleep(wait)
        done.append(entry_id)

    finished = 0
    while finished < jobs:
        answer = []
        if len(running) < MOST:
            block = None if running or done else 1000
            answer = await client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=256, block=block)
        began, cpu = (time.perf_counter(), time.process_time()) if began is None and answer else (began, cpu)
        rows = (answer.get(STREAM) if isinstance(answer, dict) else answer[0][1]) if answer else []
        if rows and isinstance(rows[0][0], (list, tuple)):
            rows = rows[0]
        for entry_id, fields in rows:
            task = asyncio.create_task(handle(entry_id, fields[FIELD]))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(0 if rows or not running else 0.001)
        if done:
            ids, done[:] = list(done), []
            pipe = client.pipeline(transaction=False)
            pipe.xack(STREAM, GROUP, *ids)
            pipe.xdel(STREAM, *ids)
            await pipe.execute()
            finished += len(ids)
    span = time.perf_counter() - began
    result = {"rate": jobs / span, "cpu": (time.process_time() - cpu) / jobs * 1e6, "waits": waits}
    print(json.dumps(result), flush=True)
    await client.aclose()


if __name__ == "__main__":
    do, given = asked()
    if do == "fill":
        fill(**given)
    else:
        asyncio.run(work(**given))
