"""Run stream workers in a process of their own."""

from __future__ import annotations

import asyncio
from typing import Any

from alrea_sense import loop
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.chat.consumers import last_words, until_signal
from apps.chat.stream_consumer import start_stream_workers


class Command(BaseCommand):
    help = (
        "Work the chat's Redis streams: hand queued messages to Evolution and send read receipts. Logs a line "
        "with 'ready' once it reads; SIGTERM finishes what is in flight and leaves the rest for others."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--send-workers", type=int, default=3, help="consumers of the send stream (default 3)"
        )
        parser.add_argument(
            "--mark-workers", type=int, default=2, help="consumers of the mark-as-read stream (default 2)"
        )
        parser.add_argument(
            "--consumer-prefix", default=None, help="leads the consumers' names; default host-pid-boot"
        )
        parser.add_argument(
            "--queues",
            nargs="+",
            choices=["send", "mark"],
            default=["send", "mark"],
            help="work only these streams",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        send, mark = options["send_workers"], options["mark_workers"]
        if send < 0 or mark < 0 or send + mark == 0:
            raise CommandError("--send-workers and --mark-workers must be 0 or more, and not both 0.")
        send = send if "send" in options["queues"] else 0
        mark = mark if "mark" in options["queues"] else 0
        loop.run(_run(send, mark, options["consumer_prefix"]))


async def _run(send: int, mark: int, prefix: str | None) -> None:
    stop = asyncio.Event()
    await until_signal(start_stream_workers(send, mark, consumer_prefix=prefix, stop=stop), stop)
    await asyncio.to_thread(last_words)
