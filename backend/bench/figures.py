"""Figures of several rounds, and what they say beside each other. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of them lie, the next one up; raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of what the rounds gave."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, unit: str = "") -> str:
        """`1,234 (1,100 to 1,300) /s`, three digits that count."""
        middle, low, high = short(self.median), short(self.least), short(self.greatest)
        told = middle if low == high else f"{middle} ({low} to {high})"
        return f"{told} {unit}".strip()


def short(value: float) -> str:
    """A number as people read it: 12,300, 123, 12.3, 1.23."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass
class Samples:
    """What was measured: name -> (round -> value). A measure that failed in one round has no value there."""

    values: dict[str, dict[int, float]] = field(default_factory=dict)

    def put(self, name: str, turn: int, value: float) -> None:
        """Keep the value of one round; the last one counts."""
        self.values.setdefault(name, {})[turn] = value

    def spread(self, name: str) -> Spread | None:
        """What the rounds gave; None when nothing did."""
        rounds = self.values.get(name)
        return Spread.of(list(rounds.values())) if rounds else None

    def ratio(self, name: str, other: str) -> Spread | None:
        """The one over the other, round by round: a machine that slows down slows both."""
        return self._both(name, other, lambda a, b: a / b if b else 0.0)

    def difference(self, name: str, other: str) -> Spread | None:
        """The one less the other, round by round."""
        return self._both(name, other, lambda a, b: a - b)

    def _both(self, name: str, other: str, of: object) -> Spread | None:
        ours, theirs = self.values.get(name, {}), self.values.get(other, {})
        assert callable(of)
        found = [of(ours[turn], theirs[turn]) for turn in sorted(ours.keys() & theirs.keys())]
        return Spread.of(found) if found else None
