"""How many files are fetched at a time: in all, and of one number, so that one that hangs leaves room for others."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID


class Rooms:
    """`total` places, all but one of which an instance may hold. For one event loop."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._each = max(1, total - 1)
        self._taken: Counter[UUID | None] = Counter()
        self._changed = asyncio.Condition()

    def full(self) -> list[UUID]:
        """Instances that hold as many places as one may."""
        return [instance for instance, count in self._taken.items() if instance and count >= self._each]

    async def enter(self, instance: UUID | None) -> None:
        """Wait for a place and take it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free > 0 and self._taken[instance] < self._each)
            self._free -= 1
            self._taken[instance] += 1

    async def leave(self, instance: UUID | None) -> None:
        """Give a place back."""
        async with self._changed:
            self._free += 1
            self._taken[instance] -= 1
            if not self._taken[instance]:
                del self._taken[instance]
            self._changed.notify_all()
