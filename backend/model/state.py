"""What is true at one moment, and how large a world is looked at.

Everything is a tuple, so that equal moments are one. Time is in ticks. A fence matters only in so far as its holder
still has the row's own, and an age only up to SETTLE: `canonical` forgets the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeAlias

VISIBLE, NOWHERE = -1, -2

# The attempt (row, n). The provider's id of what it accepted is the attempt it came from: no rule may look at it so.
Id: TypeAlias = tuple[int, int]


class State:
    """Of a delivery."""

    QUEUED, SENDING, VERIFYING, HELD = "queued", "sending", "verifying", "held"
    SENT, FAILED, CANCELLED = "sent", "failed", "cancelled"
    IN_FLIGHT = (SENDING, VERIFYING)
    FINISHED = (SENT, FAILED, CANCELLED)


class Closed:
    """Of an attempt; None while nobody knows."""

    NOT_SENT, ACCEPTED, ERROR = "not_sent", "accepted", "error"


class Attempt(NamedTuple):
    """One POST, from its step on. `age` counts ticks since `step_at`."""

    text: str
    seq: int
    age: int = 0
    closed: str | None = None
    provider_id: Id | None = None
    doubtful: bool = False


class Row(NamedTuple):
    """A delivery. `told` is what a person who cancelled was answered, `presses` how often one accepted a double.

    `click` is the second click of a double click on "replay" while it is on its way: the failure it was made for.
    """

    lane: int
    seq: int
    text: str = "A"
    state: str = State.QUEUED
    fence: int = 0
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
    cancel_requested: bool = False
    failure_gen: int = 0
    told: str = ""
    presses: int = 0
    click: int | None = None

    def open_attempts(self) -> list[Attempt]:
        """Those of which nobody knows what became."""
        return [attempt for attempt in self.attempts if attempt.closed is None]


class Worker(NamedTuple):
    """idle, found (a head), stepped, checked (its self-fence), or out (bytes left, no answer recorded)."""

    doing: str = "idle"
    row: int = -1
    n: int = -1
    fence: int = -1
    since: int = 0


class Look(NamedTuple):
    """The resolver's question and the answer it got; `settled` as of when it was asked."""

    row: int
    fence: int
    settled: bool
    canary: bool
    found: tuple[Id, ...]


class Post(NamedTuple):
    """A POST at the provider, undecided, `age` ticks after its bytes left; `stopped`: they should not have left."""

    id: Id
    age: int = 0
    stopped: bool = False


class Record(NamedTuple):
    """What the provider accepted. `unseen`: ticks until findMessages shows it, VISIBLE, or NOWHERE (never).

    `fits`: the attempts that T9 would take for it (same text, same customer, in the window), as of its acceptance.
    """

    id: Id
    unseen: int = 0
    fits: tuple[Id, ...] = ()
    out_of_order: bool = False
    proven: bool = False


class World(NamedTuple):
    """A moment. `woken`: lanes that a stream entry or a runner knows of; `parked`: evidence that fits more than one."""

    rows: tuple[Row, ...]
    workers: tuple[Worker, ...]
    woken: tuple[bool, ...]
    look: Look | None = None
    posts: tuple[Post, ...] = ()
    records: tuple[Record, ...] = ()
    parked: frozenset[Id] = frozenset()


@dataclass(frozen=True)
class Bounds:
    """How large a world, what may happen in it, and which guards are taken out."""

    lanes: tuple[int, ...] = (1,)  # how many messages in each; all to one customer, all saying the same
    workers: int = 2
    retries: int = 2
    presses: int = 1
    faults: str = ""
    persons: str = ""
    times: tuple[int, int, int, int] = (1, 0, 1, 1)  # F, G, D, V
    without: frozenset[str] = frozenset()
    beyond: frozenset[str] = frozenset()

    def on(self, guard: str) -> bool:
        """Is this guard in its place?"""
        return guard not in self.without

    @cached_property
    def settle(self) -> int:
        """F + G + D + V: after that nothing of an attempt can happen any more."""
        return sum(self.times)

    def start(self) -> World:
        """Everything queued, all lanes woken."""
        rows = [Row(lane, seq) for lane, count in enumerate(self.lanes) for seq in range(1, count + 1)]
        return World(tuple(rows), (Worker(),) * self.workers, (True,) * len(self.lanes))


Steps: TypeAlias = Iterator[tuple[str, World]]


def put_row(world: World, index: int, row: Row) -> World:
    """The world with this row."""
    return world._replace(rows=(*world.rows[:index], row, *world.rows[index + 1 :]))


def put_worker(world: World, index: int, worker: Worker = Worker()) -> World:  # noqa: B008  (immutable)
    """The world with this worker; idle when none is given."""
    return world._replace(workers=(*world.workers[:index], worker, *world.workers[index + 1 :]))


def wake(world: World, lane: int, woken: bool = True) -> World:
    """The world with this lane's wake-up sent, or used up."""
    return world._replace(woken=(*world.woken[:lane], woken, *world.woken[lane + 1 :]))


def name(row: int, n: int | None = None) -> str:
    """m1 for a message, m1#2 for its second attempt."""
    return f"m{row + 1}" if n is None else f"m{row + 1}#{n + 1}"


def canonical(world: World, bounds: Bounds) -> World:
    """The same moment, said in one way: fences become "mine" (0) or "another's" (-1), workers lose their names."""
    fences = [row.fence for row in world.rows]
    workers = world.workers
    for i, worker in enumerate(workers):
        if worker.row >= 0:
            fence = 0 if worker.fence == fences[worker.row] else -1
            if worker.fence != fence:
                workers = (*workers[:i], worker._replace(fence=fence), *workers[i + 1 :])
    look = world.look
    if look is not None:
        look = look._replace(fence=0 if look.fence == fences[look.row] else -1)
    rows = tuple(_canonical_row(row, bounds.settle + 1) for row in world.rows)
    return World(rows, tuple(sorted(workers)), world.woken, look, world.posts, world.records, world.parked)


@lru_cache(maxsize=100_000)
def _canonical_row(row: Row, cap: int) -> Row:
    attempts = tuple(
        a._replace(age=cap) if a.closed in (Closed.ACCEPTED, Closed.ERROR) else a for a in row.attempts
    )
    return row._replace(fence=0, attempts=attempts)
