"""The tables: on the terminal, and as `docs/benchmarks.md`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import Samples
from bench.goals import GOALS, Goal

UNITS = {
    "drain": "jobs/s", "waits": "jobs/s", "enqueue": "jobs/s", "bulk": "entries/s", "send": "sends/s",
    "cpu": "us of worker CPU each", "latency": "ms", "api": "ms", "first_byte": "ms", "status": "ms", "list": "ms",
    "fanout": "ms", "worker": "MB", "socket": "kB", "wakeup": "bytes",
}  # fmt: skip
VERDICTS: Mapping[bool | None, str] = {True: "met", False: "missed", None: "not measured"}


@dataclass
class Run:
    """What is told about one run of the bench."""

    samples: Samples
    machine: Sequence[str]
    rounds: int
    quick: bool
    minutes: float = 0.0
    notes: list[str] = field(default_factory=list)


def goal_rows(samples: Samples) -> list[tuple[str, str, str, str, str]]:
    """Number, what, goal, reached, verdict of each goal."""
    return [(g.number, g.what, g.wanted(), reached_text(g, samples), VERDICTS[g.met(samples)]) for g in GOALS]


def reached_text(goal: Goal, samples: Samples) -> str:
    """The reached figure with its spread."""
    spread = goal.reached(samples)
    return "-" if spread is None else spread.text(goal.unit)


def sample_rows(samples: Samples) -> list[tuple[str, str]]:
    """Every sample with its spread, by name."""
    rows = []
    for name in sorted(samples.values):
        spread = samples.spread(name)
        if spread is not None:
            rows.append((name, spread.text(unit_of(name))))
    return rows


def unit_of(name: str) -> str:
    """The unit of a sample, from its name."""
    if name in ("journal.rate", "journal.applied"):
        return "events/s"
    return "ms" if name.startswith("journal") else UNITS.get(name.split(".")[0], "")


def missed(samples: Samples) -> list[str]:
    """A sentence for each goal that was missed."""
    told = []
    for goal in GOALS:
        if goal.met(samples) is False:
            why = goal.limit or "No limit is known: look for the cause"
            told.append(
                f"{goal.number}, {goal.what}: {reached_text(goal, samples)}, wanted {goal.wanted()}. {why}."
            )
    return told


def terminal(run: Run) -> str:
    """What `make bench` prints at its end."""
    rows = [("", "what", "goal", "reached: median (least to greatest)", ""), *goal_rows(run.samples)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([*lines, "", *run.notes])


def markdown(run: Run, kept: str = "") -> str:
    """`docs/benchmarks.md`; `kept` is the part of the former file that people wrote."""
    parts = [
        "# Benchmarks",
        'Written by `make bench`; what stands below the line "By hand" is kept. Only ratios within one run mean '
        "anything: machines of this kind drift by a factor of two.",
        "## Where and when",
        bullets(
            [
                *run.machine,
                f"{run.rounds} interleaved rounds, {run.minutes:.0f} minutes{', quick' * run.quick}",
            ]
        ),
        "## Goals",
        table(("#", "what", "goal", "reached: median (least to greatest)", ""), goal_rows(run.samples)),
        "## Missed, and what binds",
        bullets(missed(run.samples)) or "Nothing.",
        "## Everything measured",
        table(("sample", "median (least to greatest)"), sample_rows(run.samples)),
        "## What the names mean",
        bullets(NAMES),
    ]
    if run.notes:
        parts += ["## Notes of this run", bullets(run.notes)]
    return "\n\n".join(parts) + f"\n\n{BY_HAND}\n{kept}"


BY_HAND = "## By hand"
NAMES = (
    "`drain`: no-op jobs waiting in the queue, worked off by one worker process on one core, its server on the other",
    "`waits`: the same with jobs of 20 ms; `enqueue`: one job at a time; `cpu`: processor time of the worker",
    "`raw`: 30 lines around redis-py (XREADGROUP COUNT 256, a task for each entry, pipelined XACK and XDEL): no claim, "
    "no retry, no dead letter. `ours`: our reader, decoder and acknowledger around the same handler",
    "`drain.long`: ours, with a long stream behind the jobs that are counted",
    "`send.ours`: messages queued in PostgreSQL (fsync on), woken through the stream, POSTed to a provider that "
    "answers after 20 ms, recorded; `send.full`: the same with a full database; `send.free`, `send.two`: one and two "
    "processes, bound to no core",
    "`send.seed`: three loops, COUNT 1, a kept httpx client, one ORM get and update for each message. `send.batched`: "
    "our HTTP client with batched reads, updates and acknowledgements, and no lanes, claims, evidence or events",
    "`journal.rate`: webhooks answered; `journal.applied`: the same until the last of them is applied, too",
)


def kept_part(former: str) -> str:
    """What people wrote below the line; empty when there is none."""
    return former.split(f"{BY_HAND}\n", 1)[1] if f"{BY_HAND}\n" in former else ""


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
