"""Run the list consumers in a process of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from alrea_sense import loop
from django.core.management.base import BaseCommand, CommandParser

from apps.chat.consumers import last_words, until_signal
from apps.chat.redis_consumer import start_redis_consumers
from apps.chat.redis_queue import QUEUE_PREFIX, QUEUES, short_name


class Command(BaseCommand):
    help = (
        "Work the chat's Redis lists (chat:queue:*). Logs a line with 'ready' once it reads; SIGTERM finishes what is "
        "in flight and gives the rest back. With CHAT_SEND_TRANSPORT=list it needs no stream worker beside it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        names = [short_name(queue) for queue in QUEUES]
        parser.add_argument("--queues", nargs="+", choices=names, default=names, help="work only these lists")

    def handle(self, *args: Any, **options: Any) -> None:
        loop.run(_run([QUEUE_PREFIX + name for name in options["queues"]]))


async def _run(queues: Sequence[str]) -> None:
    stop = asyncio.Event()
    await until_signal(start_redis_consumers(queues=queues, stop=stop), stop)
    await asyncio.to_thread(last_words)
