"""Idle things by place, the freshest first, none older than its time: what a connection pool keeps."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    place: str
    thing: T
    since: float


class IdleStacks(Generic[T]):
    """Keeps idle things for at most `expiry` seconds. Every step costs the same however many there are."""

    def __init__(self, expiry: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._expiry = expiry
        self._clock = clock
        self._by_age: dict[int, _Kept[T]] = {}  # the oldest first
        self._by_place: dict[str, dict[int, _Kept[T]]] = {}  # the freshest last

    def __len__(self) -> int:
        return len(self._by_age)

    def take(self, place: str) -> T | None:
        """Remove and return the thing used last at this place, None when there is none."""
        stack = self._by_place.get(place)
        if not stack:
            return None
        kept = stack[next(reversed(stack))]
        self._forget(kept)
        return kept.thing

    def put(self, place: str, thing: T) -> None:
        """Keep a thing that has just become idle."""
        kept = _Kept(place, thing, self._clock())
        self._by_age[id(thing)] = kept
        self._by_place.setdefault(place, {})[id(thing)] = kept

    def pop_expired(self) -> T | None:
        """Remove and return one thing that has been idle too long, None when there is none."""
        oldest = next(iter(self._by_age.values()), None)
        if oldest is None or oldest.since > self._clock() - self._expiry:
            return None
        self._forget(oldest)
        return oldest.thing

    def _forget(self, kept: _Kept[T]) -> None:
        key = id(kept.thing)
        del self._by_age[key]
        stack = self._by_place[kept.place]
        del stack[key]
        if not stack:
            del self._by_place[kept.place]
