"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def eventually(condition: Callable[[], object], within: float = 5, what: str = "the condition") -> None:
    """Returns when `condition` is true; raises AssertionError after `within` seconds."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        time.sleep(0.02)


async def eventually_async(
    condition: Callable[[], Awaitable[object]], within: float = 5, what: str = "the condition"
) -> None:
    """As `eventually`, for a condition that is awaited."""
    end = time.monotonic() + within
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        await asyncio.sleep(0.02)
