"""What parts of the engine need of the process's database thread, without depending on what it batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Database(Protocol):
    """Runs database work for an event loop (`delivery.batcher.DatabaseThread`)."""

    async def call(self, function: Callable[[], T]) -> T:
        """Run it and answer its result."""
        ...
