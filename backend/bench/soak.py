"""What the samples of a soak say: which figures grew. Pure; `scripts/soak.py` takes the samples."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Least squares over the last two thirds: the first third fills caches that are meant to fill.
MEMORY_MB_PER_10_MINUTES: Final = 2.0
LATENCY_GROWTH: Final = 1.3
# Of all cores: above this, latency tells who else wanted the machine.
FULL_MACHINE: Final = 0.9
CPU_GROWTH: Final = 1.3
CPU_MORE: Final = 0.05
# A shorter stretch cannot tell a slope of this size from one garbage collection.
LEAST_MEMORY_SECONDS: Final = 600.0
LEAST_SAMPLES: Final = 6
HANDLES_MORE: Final = 8
BACKLOG_MORE: Final = 50


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a running system. Latencies are milliseconds of what happened since the look before."""

    at: float
    """Seconds since the load began."""
    memory_mb: Mapping[str, float]
    """Process -> resident memory."""
    files: Mapping[str, int]
    """Process -> open files, sockets among them."""
    cpu: Mapping[str, float]
    """Process -> share of one core since the look before; `machine`: of all cores, whoever used them."""
    posted: int
    """Messages the API accepted since the look before."""
    api_p50: float | None
    api_p95: float | None
    provider_p50: float | None
    """From before the request until WhatsApp had the message."""
    provider_p95: float | None
    streams: int
    """Entries of the work streams."""
    pending: int
    """Those of them that somebody has read and not acknowledged."""
    lists: int
    """Items of the Redis lists."""
    journal: int
    """Webhooks stored and not applied yet."""
    connections: int
    """Of the database; with SQLite, open handles of its files."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through points: its rise per unit of x, and that rise's standard error."""

    rise: float
    error: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure's story: `grew` is None where the run was too short to tell."""

    name: str
    grew: bool | None
    told: str


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """Least squares; raises ValueError for fewer than three points or one x only."""
    if len(points) < 3:
        raise ValueError("a slope needs three points")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    middle_x, middle_y = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    if not spread:
        raise ValueError("a slope needs different x")
    rise = sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
    left = sum((y - middle_y - rise * (x - middle_x)) ** 2 for x, y in points)
    return Slope(rise, (left / (len(points) - 2) / spread) ** 0.5)


def memory(name: str, points: Sequence[tuple[float, float]]) -> Finding:
    """Whether a process's memory grows: points are (seconds, MB) of the whole run."""
    kept = points[len(points) // 3 :]
    title = f"memory of the {name}"
    if len(kept) < 3:
        return Finding(title, None, "too few samples")
    line = slope(kept)
    ten, error = line.rise * 600, line.error * 600
    span = kept[-1][0] - kept[0][0]
    told = f"{ten:+.2f} MB in 10 minutes (± {error:.2f}), {kept[0][1]:.0f} to {kept[-1][1]:.0f} MB"
    if span < LEAST_MEMORY_SECONDS:
        return Finding(title, None, f"{told}; {span / 60:.0f} minutes are too short to judge")
    return Finding(title, ten >= MEMORY_MB_PER_10_MINUTES, told)


def latency(name: str, values: Sequence[float], *, full: bool = False) -> Finding:
    """Whether it takes longer at the end than at the beginning: a value of each sample, milliseconds.

    On a machine that was `full` a growth is told, not judged.
    """
    if len(values) < LEAST_SAMPLES:
        return Finding(name, None, "too few samples")
    early, late = _ends(values)
    told = f"{early:.1f} to {late:.1f} ms, {late / max(early, 0.01):.2f} times (noise ± {_noise(values):.0%})"
    grew = late > LATENCY_GROWTH * early
    if grew and full:
        return Finding(name, None, f"{told}; the machine was full")
    return Finding(name, grew, told)


def cost(name: str, values: Sequence[float]) -> Finding:
    """Whether the same load costs more at the end: shares of a core."""
    if len(values) < LEAST_SAMPLES:
        return Finding(name, None, "too few samples")
    early, late = _ends(values)
    grew = late > CPU_GROWTH * early and late > early + CPU_MORE
    return Finding(name, grew, f"{early:.1%} to {late:.1%} of a core")


def handles(name: str, values: Sequence[int], at_rest: int | None) -> Finding:
    """Whether files or connections are left open: the fewest there were early, and late or, if known, at rest."""
    if len(values) < LEAST_SAMPLES:
        return Finding(name, None, "too few samples")
    third = len(values) // 3
    early, late = min(values[:third]), min(values[-third:]) if at_rest is None else at_rest
    told = f"fewest {early}, most {max(values)}, {'late' if at_rest is None else 'at rest'} {late}"
    return Finding(name, late > early + HANDLES_MORE, told)


def backlog(name: str, values: Sequence[int]) -> Finding:
    """Whether more waits at the end than at the beginning."""
    if len(values) < LEAST_SAMPLES:
        return Finding(name, None, "too few samples")
    early, late = _ends(values)
    return Finding(name, late > early + BACKLOG_MORE, f"{early:g} to {late:g}, most {max(values)}")


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the last third."""
    third = len(values) // 3
    return statistics.median(values[:third]), statistics.median(values[-third:])


def _noise(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / max(middle, 0.01)


def findings(samples: Sequence[Sample], rest: Sample | None = None) -> list[Finding]:
    """What became of every figure under load; `rest` is a look after it, at a quiet system."""
    names = list(samples[0].memory_mb) if samples else []
    found = [memory(name, [(one.at, one.memory_mb[name]) for one in samples]) for name in names]
    full = bool(samples) and statistics.median(one.cpu["machine"] for one in samples) > FULL_MACHINE
    found += [
        latency("API p50", _given(samples, lambda one: one.api_p50), full=full),
        latency("to WhatsApp p50", _given(samples, lambda one: one.provider_p50), full=full),
    ]
    found += [cost(f"processor time of the {name}", [one.cpu[name] for one in samples]) for name in names]
    for name in names:
        values = [one.files[name] for one in samples]
        found.append(handles(f"open files of the {name}", values, rest.files[name] if rest else None))
    held = [one.connections for one in samples]
    found.append(handles("database connections", held, rest.connections if rest else None))
    counts: list[tuple[str, Callable[[Sample], int]]] = [
        ("stream entries", lambda one: one.streams),
        ("list items", lambda one: one.lists),
        ("webhooks to apply", lambda one: one.journal),
    ]
    return found + [backlog(name, [get(one) for one in samples]) for name, get in counts]


def _given(samples: Iterable[Sample], get: Callable[[Sample], float | None]) -> list[float]:
    return [value for one in samples if (value := get(one)) is not None]


def head(names: Sequence[str]) -> str:
    """The table's first line, for these processes."""
    processes = "  ".join(f"{f'{name}: MB files core':>22}" for name in names)
    waits = "machine streams pending   lists journal  db"
    return f"   min  posted     API p50/p95   WhatsApp p50/p95  {processes}  {waits}"


def line(sample: Sample) -> str:
    """One sample as a line of the table."""
    parts = [
        f"{f'{mb:.1f} {sample.files[name]:4} {sample.cpu[name]:4.0%}':>22}"
        for name, mb in sample.memory_mb.items()
    ]
    waits = (
        f"{sample.streams:7} {sample.pending:7} {sample.lists:7} {sample.journal:7} {sample.connections:3}"
    )
    return (
        f"{sample.at / 60:6.1f} {sample.posted:7} {_pair(sample.api_p50, sample.api_p95):>15}"
        f" {_pair(sample.provider_p50, sample.provider_p95):>18}  {'  '.join(parts)}"
        f"  {sample.cpu['machine']:7.0%} {waits}"
    )


def _pair(middle: float | None, late: float | None) -> str:
    return "-" if middle is None or late is None else f"{middle:.1f}/{late:.1f}"


def verdict(found: Iterable[Finding], violations: Sequence[str], *, interrupted: bool = False) -> str:
    """The last line: `steady`, or what is wrong."""
    found = list(found)
    wrong = [*violations, *(f"{one.name} grew: {one.told}" for one in found if one.grew)]
    if wrong:
        return "verdict: NOT STEADY: " + "; ".join(wrong)
    unsure = [one.name for one in found if one.grew is None]
    told = "verdict: steady, nothing lost, doubled or out of order"
    if unsure:
        told += f"; not judged: {', '.join(unsure)}"
    return told + ("; interrupted" if interrupted else "")
