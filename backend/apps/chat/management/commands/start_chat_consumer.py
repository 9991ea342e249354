"""Run the list consumers in a process of their own."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.chat.consumers import until_signal
from apps.chat.redis_consumer import start_redis_consumers


class Command(BaseCommand):
    help = "Work the chat's Redis lists (chat:queue:*). Logs a line with 'ready' once it reads; SIGTERM stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queues", nargs="+", choices=["send_message"], default=["send_message"], help="work only these"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_run())


async def _run() -> None:
    stop = asyncio.Event()
    await until_signal(start_redis_consumers(stop=stop), stop)
