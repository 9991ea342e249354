"""What must hold at every moment, and the search for a moment where it does not: breadth first, so the shortest."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from model import evidence, lane, person, provider
from model.state import Bounds, Closed, State, Steps, World, canonical, name

Rule = Callable[[World, Bounds], Steps]
# What happens by itself, in every fair run: by these alone each moment must lead to an end.
FAIR: tuple[Rule, ...] = (
    lane.find_head,
    lane.step,
    lane.send,
    lane.conclude,
    lane.take_over,
    lane.sweep,
    evidence.claim_verifying,
    evidence.verdict,
    provider.accepts,
    provider.shows,
    provider.tick,
)
# What may happen as well.
CHANCE: tuple[Rule, ...] = (
    evidence.echo,
    evidence.record_ack_error,
    person.cancel,
    person.edit,
    person.release,
    person.replay,
    provider.refuses,
    provider.flushall,
    lane.crash,
)


def broken(world: World) -> str | None:
    """The first invariant that does not hold, said of the message it concerns."""
    accepted = [record.id for record in world.records]
    for i, row in enumerate(world.rows):
        mine = [n for r, n in accepted if r == i]
        reached = [n for n in mine if row.attempts[n].closed != Closed.ERROR]
        if len(reached) > 1 + row.presses:
            return f"{name(i)} was accepted {len(reached)} times"
        if row.told == "stopped" and reached:
            return f'{name(i)} was accepted, and the person was told "stopped"'
        if row.state == State.SENT and not mine:
            return f"{name(i)} is called sent and never was: lost"
        for n, attempt in enumerate(row.attempts):
            if attempt.provider_id not in (None, (i, n)):
                return f"{name(i, n)} bears the id of another"
    return _broken_lane(world)


def _broken_lane(world: World) -> str | None:
    for post in world.posts:
        if post.stopped:
            return f"{name(*post.id)} leaves after the person was told that it is stopped"
    for record in world.records:
        row, n = record.id
        if record.out_of_order:
            return f"{name(row)} was accepted after a later message of its lane"
        if record.proven and world.rows[row].attempts[n].provider_id is None:
            return f"proof of {name(row, n)} came and was not taken"
    flying = [row.lane for row in world.rows if row.state in State.IN_FLIGHT]
    if len(flying) != len(set(flying)):
        return "two rows of a lane are in flight"
    return None


def at_rest(world: World) -> bool:
    """Has each message ended, or does it wait for a person (behind a held one, too)?"""
    held = {row.lane for row in world.rows if row.state == State.HELD}
    return all(row.state in State.FINISHED or row.lane in held for row in world.rows)


@dataclass(frozen=True)
class Result:
    """`broken` is None when all held; `complete`: every moment within the bounds was looked at."""

    broken: str | None
    trace: tuple[str, ...]
    states: int
    seconds: float
    complete: bool


class Search:
    """One walk over all moments within the bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        start = canonical(bounds.start(), bounds)
        self._index: dict[World, int] = {start: 0}
        self._worlds: list[World] = [start]
        self._parents = array("l", [-1])
        self._labels = [""]
        self._fair = (array("l"), array("l"))  # edges of fair rules: from, to

    def run(self, limit: int = 2_000_000) -> Result:
        """Look at up to `limit` moments."""
        began = time.monotonic()
        at, wrong = 0, None
        while at < len(self._worlds) and len(self._worlds) < limit and wrong is None:
            wrong = self._expand(at)
            at += 1
        complete = wrong is None and at == len(self._worlds)
        where = len(self._worlds) - 1
        if complete and (end := self._dead_end()) is not None:
            where, wrong = end, "from here on a message can never move again: lost"
        trace = self._trace(where) if wrong else ()
        return Result(wrong, trace, len(self._worlds), time.monotonic() - began, complete)

    def _expand(self, at: int) -> str | None:
        world = self._worlds[at]
        for rules, fair in ((FAIR, True), (CHANCE, False)):
            for rule in rules:
                for label, after in rule(world, self._bounds):
                    if wrong := self._reach(at, label, after, fair):
                        return wrong
        return None

    def _reach(self, at: int, label: str, after: World, fair: bool) -> str | None:
        after = canonical(after, self._bounds)
        known = self._index.get(after)
        if known is None:
            known = self._index[after] = len(self._worlds)
            self._worlds.append(after)
            self._parents.append(at)
            self._labels.append(label)
            if wrong := broken(after):
                return wrong
        if fair and known != at:
            self._fair[0].append(at)
            self._fair[1].append(known)
        return None

    def _dead_end(self) -> int | None:
        """The first moment from which no fair run comes to rest."""
        before: dict[int, list[int]] = {}
        for source, target in zip(*self._fair, strict=True):
            before.setdefault(target, []).append(source)
        todo = [i for i, world in enumerate(self._worlds) if at_rest(world)]
        good = bytearray(len(self._worlds))
        for i in todo:
            good[i] = 1
        while todo:
            for source in before.get(todo.pop(), ()):
                if not good[source]:
                    good[source] = 1
                    todo.append(source)
        first = good.find(0)
        return None if first < 0 else first

    def _trace(self, at: int) -> tuple[str, ...]:
        steps = []
        while at > 0:
            steps.append(self._labels[at])
            at = self._parents[at]
        return tuple(reversed(steps))
