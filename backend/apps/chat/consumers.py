"""All consumers of one process, around one delivery engine: what the server and the worker commands run."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Coroutine
from typing import Any

from django.conf import settings

from apps.chat import journal, media_queue
from apps.chat.delivery.engine import Engine
from apps.chat.media_consumer import start_media_consumers
from apps.chat.realtime.broadcast import flush
from apps.chat.redis_consumer import start_redis_consumers
from apps.chat.stream_consumer import start_stream_workers, supervise

logger = logging.getLogger(__name__)


async def _beside(engine: Engine, stop: asyncio.Event) -> None:
    """What runs around the stream workers' engine: the lists, and the files."""
    await supervise([start_redis_consumers(engine=engine, stop=stop), start_media_consumers(stop=stop)], stop)


class EmbeddedConsumers:
    """Consumers inside a server process: started and drained by the ASGI lifespan, in the server's own loop."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start them; a failure to start does not keep the server from serving."""
        self._task = asyncio.create_task(
            start_stream_workers(
                settings.CHAT_ASGI_SEND_WORKERS,
                settings.CHAT_ASGI_MARK_WORKERS,
                beside=_beside,
                stop=self._stop,
            ),
            name="chat consumers",
        )
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._stop.is_set() and not task.cancelled() and task.exception() is not None:
            logger.error("the chat consumers of this server died", exc_info=task.exception())

    async def drain(self) -> None:
        """Stop reading, finish what is in flight, leave no consumer behind."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def run_in_thread(self) -> threading.Thread:
        """For servers without lifespan: the same consumers in a thread with a loop of its own."""
        thread = threading.Thread(
            target=lambda: asyncio.run(self._forever()), name="chat-consumers", daemon=True
        )
        thread.start()
        return thread

    async def _forever(self) -> None:
        self._stop = asyncio.Event()
        await self.start()
        assert self._task is not None
        await self._task


def last_words() -> None:
    """Before a process ends: apply what is journalled and announce what was written, as far as seconds go."""
    journal.stop()
    media_queue.stop()
    flush(2.0)


async def until_signal(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run a worker; SIGTERM and SIGINT set `stop`, a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            raise SystemExit(130)
        logger.info("stopping: finishing what is in flight")
        stop.set()

    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, asked)
    await work
