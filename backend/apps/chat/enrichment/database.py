"""Database work of the enrichment, on a thread of its own: the delivery's thread has messages to move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

T = TypeVar("T")
_thread = ThreadPoolExecutor(1, thread_name_prefix="chat-enrichment")


async def call(function: Callable[[], T]) -> T:
    """Run the function on that thread; its connection is given back afterwards."""
    return await asyncio.get_running_loop().run_in_executor(_thread, _run, function)


def _run(function: Callable[[], T]) -> T:
    try:
        return function()
    finally:
        connection.close()
