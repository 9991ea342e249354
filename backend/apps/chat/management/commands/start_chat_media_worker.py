"""Run the media worker in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from alrea_sense import loop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.chat.consumers import last_words, until_signal
from apps.chat.media_consumer import start_media_consumers


class Command(BaseCommand):
    help = (
        "Fetch the files of incoming messages (RabbitMQ's chat_process_incoming_media, or the database without "
        "RABBITMQ_URL). Logs a line with 'ready' once it works; SIGTERM stops it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--concurrency", type=int, default=settings.CHAT_MEDIA_CONCURRENCY, help="files at a time"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        loop.run(_run(max(1, options["concurrency"])))
        last_words()


async def _run(concurrency: int) -> None:
    stop = asyncio.Event()
    await until_signal(start_media_consumers(concurrency=concurrency, stop=stop), stop)
