"""Our stream layer around a handler that does nothing: reader, decoder and acknowledger as the workers use them.

python -m bench.inside.stream_layer work '{"jobs": 1000, "wait": 0, "latency": false}'
python -m bench.inside.stream_layer fill '{"jobs": 1000}'       through `enqueue_many`, as a bulk producer does
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django

django.setup()

from alrea_sense.loop import run  # noqa: E402
from apps.chat import redis_streams as streams  # noqa: E402
from apps.chat.redis_clients import close_async_clients  # noqa: E402
from apps.chat.redis_streams import Entry, WakeUp  # noqa: E402
from apps.chat.stream_consumer import READ_AT_ONCE  # noqa: E402
from apps.chat.stream_readers import Acknowledger, StreamReader  # noqa: E402
from django.conf import settings  # noqa: E402

MOST = 1024
AT_ONCE = 5000
ID = UUID("01890000-0000-7000-8000-000000000000")


class Worker:
    """Reads and acknowledges as `SendWorker` does; a task for each entry, as in the yardstick."""

    def __init__(self, jobs: int, wait: float, latency: bool) -> None:
        self._jobs, self._wait, self._latency = jobs, wait, latency
        self._acknowledge = Acknowledger(settings.CHAT_STREAM_SEND_NAME)
        self._running: set[asyncio.Task[None]] = set()
        self._done = 0
        self.waits: list[float] = []

    async def run(self) -> dict[str, Any]:
        """Work until `jobs` are done and acknowledged."""
        await streams.ensure_stream_setup()
        reader = StreamReader(settings.CHAT_STREAM_SEND_NAME, "bench")
        acknowledging = asyncio.create_task(self._acknowledge.run())
        began = cpu = 0.0
        if self._latency:
            print("ready", flush=True)
        while self._done < self._jobs:
            if len(self._running) >= MOST or self._done + len(self._running) >= self._jobs:
                await asyncio.sleep(0.001)
                continue
            entries = await reader.read(READ_AT_ONCE)
            began, cpu = (began, cpu) if began else (time.perf_counter(), time.process_time())
            for entry in entries:
                self._start(entry)
            await asyncio.sleep(0)
        self._acknowledge.stop()
        await acknowledging
        span, cpu = time.perf_counter() - began, time.process_time() - cpu
        await reader.leave()
        return {"rate": self._jobs / span, "cpu": cpu / self._jobs * 1e6, "waits": self.waits}

    def _start(self, entry: Entry) -> None:
        task = asyncio.create_task(self._handle(entry, streams.decode_wake_up(entry.payload)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _handle(self, entry: Entry, wake_up: WakeUp) -> None:
        if self._latency and wake_up.message_id is not None:
            self.waits.append((time.time_ns() - wake_up.message_id.int) / 1e6)
        if self._wait:
            await asyncio.sleep(self._wait)
        self._acknowledge([entry.id])
        self._done += 1


async def _work(jobs: int, wait: float, latency: bool = False) -> None:
    print(json.dumps(await Worker(jobs, wait, latency).run()), flush=True)
    await close_async_clients()


def _fill(jobs: int) -> None:
    began = time.perf_counter()
    for start in range(0, jobs, AT_ONCE):
        count = min(AT_ONCE, jobs - start)
        streams.enqueue_many(WakeUp(UUID(int=start + n), ID, ID) for n in range(count))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rate": jobs / seconds}), flush=True)


def main() -> None:
    """Do what the arguments ask for."""
    given = json.loads(sys.argv[2])
    if sys.argv[1] == "fill":
        _fill(**given)
    else:
        run(_work(**given))  # the loop our workers run on


if __name__ == "__main__":
    main()
