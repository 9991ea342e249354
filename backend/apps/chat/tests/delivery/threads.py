"""Running database work on threads of its own, each with its own connection, closed afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connection

T = TypeVar("T")


def in_thread(work: Callable[[], T], within: float = 20) -> T:
    """The result of `work`, run on another thread and so on another connection."""
    return at_once([work], within)[0]


def at_once(works: Sequence[Callable[[], T]], within: float = 20) -> list[T]:
    """The results of works that start together, each on a thread and a connection of its own."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        barrier.wait(within)
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        futures: list[Future[T]] = [pool.submit(run, work) for work in works]
        return [future.result(within) for future in futures]


def outcome(work: Callable[[], Any]) -> Callable[[], Any]:
    """`work`, answering the exception it raises instead of raising it."""

    def run() -> Any:
        try:
            return work()
        except Exception as error:
            return error

    return run
