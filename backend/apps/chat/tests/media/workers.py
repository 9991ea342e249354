"""Media workers for tests: in a thread of this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from testing.process import Process
from testing.servers import BACKEND, environment
from testing.waiting import eventually

from apps.chat.media_consumer import MediaWorker
from apps.chat.models import MessageAttachment


class ThreadWorker:
    """A MediaWorker in a thread with a loop of its own."""

    def __init__(self, concurrency: int = 3) -> None:
        self.worker: MediaWorker | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=[concurrency], daemon=True)

    def _run(self, concurrency: int) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self.worker = MediaWorker(concurrency)
            await self.worker.run(self._stop)

        try:
            asyncio.run(main())
        except BaseException as error:
            self.error = error

    @property
    def reading(self) -> bool:
        consumer = self.worker._consumer if self.worker else None
        return consumer is not None and consumer.reading.is_set()

    def start(self) -> ThreadWorker:
        self._thread.start()
        eventually(lambda: self.worker is not None, 5, "the worker")
        return self

    def call(self, coroutine: object) -> object:
        """Run something in the worker's loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.error is None, self.error


@contextlib.contextmanager
def thread_worker(concurrency: int = 3) -> Iterator[ThreadWorker]:
    worker = ThreadWorker(concurrency).start()
    try:
        yield worker
    finally:
        worker.stop()


class ProcessWorker(Process):
    """`manage.py start_chat_media_worker`; ready when its log says so."""

    def __init__(self, directory: Path, env: Mapping[str, str], concurrency: int = 2) -> None:
        args = [sys.executable, "manage.py", "start_chat_media_worker", "--concurrency", str(concurrency)]
        super().__init__(
            "media-worker", args, log=directory / "media.log", cwd=BACKEND, env=environment(env), grace=35
        )

    def ready(self) -> bool:
        return re.search(r"\bready\b", self.output()) is not None


def all_ended(within: float = 30) -> None:
    """Wait until no attachment is on its way."""
    open_ones = MessageAttachment.objects.filter(status__in=["pending", "processing"])
    eventually(lambda: not open_ones.exists(), within, "all files to end")


def statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    for status in MessageAttachment.objects.values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


def resident_mb(pid: int) -> float:
    """The resident memory of a process, 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    line = next((line for line in text.splitlines() if line.startswith("VmRSS")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024


class Peak:
    """The most resident memory a process had, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._stop = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            self._most = max(self._most, resident_mb(self._pid))

    def stop(self) -> float:
        """End; the most seen, in MB."""
        self._stop.set()
        self._thread.join()
        return self._most
