"""Runs scenarios one after the other, each in a world of its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from testing import servers

from drill.database import Database, Databases, databases
from drill.scenario import SCENARIOS, Drill, Scenario, Skipped
from drill.times import Times
from drill.world import World


@dataclass
class Result:
    """What became of one scenario. `verdict` is None when it could not be brought to its end."""

    number: int
    fault: str
    database: str
    seed: int
    messages: int
    command: str
    verdict: dict[str, int] | None = None
    violations: list[str] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)
    decided_after: float | None = None
    seconds: float = 0.0
    logs: str | None = None
    skipped: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.violations

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: see `chat_drill --help`."""

    database: str
    seed: int
    messages: int
    times: Times
    keep: bool = False


def chosen(wanted: Iterable[str]) -> list[Scenario]:
    """Scenarios by name, by the beginning of a name, or by number; all of them when nothing is wanted.

    Raises:
        LookupError: nothing is called so.
    """
    found: dict[str, Scenario] = {}
    for text in wanted:
        some = {name: one for name, one in SCENARIOS.items() if text in (name, str(one.number))}
        some = some or {name: one for name, one in SCENARIOS.items() if name.startswith(text)}
        if not some:
            raise LookupError(f"There is no scenario {text!r}; --list shows them.")
        found |= some
    return sorted((found or SCENARIOS).values(), key=lambda one: one.number)


def run(scenarios: Iterable[Scenario], options: Options, progress: Callable[[str], None]) -> Iterator[Result]:
    """Run them on one database server, answering each result as it comes.

    Raises:
        ServerMissing: a server is not installed on this machine.
    """
    with tempfile.TemporaryDirectory(prefix="alrea-drill-base-") as base:
        Path(base).chmod(0o755)
        with databases(options.database, Path(base)) as source:
            for scenario in scenarios:
                yield _one(scenario, source, options, progress)


def _one(scenario: Scenario, source: Databases, options: Options, progress: Callable[[str], None]) -> Result:
    result = Result(
        number=scenario.number,
        fault=scenario.name,
        database=options.database,
        seed=options.seed,
        messages=options.messages,
        command=command(scenario, options),
    )
    if options.database not in scenario.databases:
        result.skipped = f"only on {' and '.join(scenario.databases)}"
        return result
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix=f"alrea-drill-{scenario.name}-"))

    def say(line: str) -> None:
        progress(f"[{time.monotonic() - began:6.1f} s] {line}")

    progress(f"\n--- {scenario.number} {scenario.name} on {options.database}: {scenario.fault}")
    _run_guarded(scenario, source, options, directory, result, say)
    result.seconds = round(time.monotonic() - began, 1)
    if result.violations or options.keep:
        result.logs = str(directory)
        say(f"logs are kept in {directory}; again: {result.command}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def _run_guarded(
    scenario: Scenario,
    source: Databases,
    options: Options,
    directory: Path,
    result: Result,
    say: Callable[[str], None],
) -> None:
    try:
        database = source.new(f"drill_{scenario.name}_{time.time_ns()}".replace("-", "_"), directory)
        with World(directory, database, options.times, options.seed, scenario.plan) as world:
            say("the system is up")
            _play(scenario, Drill(world, options.messages, options.seed, say), result)
    except servers.ServerMissing:
        raise
    except Skipped as skipped:
        result.skipped = str(skipped)
    except Exception as error:  # the next scenario must run, whatever this one met
        (directory / "drill.log").write_text(traceback.format_exc())
        sentence = str(error) if isinstance(error, AssertionError | servers.ServerError) else repr(error)
        result.violations.append(sentence)
        say(f"VIOLATION: {sentence}")


def _play(scenario: Scenario, drill: Drill, result: Result) -> None:
    """The scenario, then the oracle; what was found by then is reported even when one of them gives up."""
    result.figures, result.violations = drill.figures, drill.violations
    try:
        scenario.body(drill)
    except Skipped:
        raise
    except Exception:
        with contextlib.suppress(Exception):
            result.verdict = asdict(drill.verdict())
        raise
    result.verdict = asdict(drill.verdict())
    drill.figure("api_refusals", drill.ledger.refusals)
    drill.figure("api_slowest", drill.ledger.slowest())
    if drill.decided_after is not None:
        result.decided_after = round(drill.decided_after, 1)
    drill.say(", ".join(f"{name} {value}" for name, value in drill.figures.items()))


def command(scenario: Scenario, options: Options) -> str:
    """What repeats a run."""
    text = f"python manage.py chat_drill --fault {scenario.name} --seed {options.seed}"
    text += f" --messages {options.messages} --database {options.database}"
    return text + (" --real-times" if options.times.name == "real" else "")


__all__ = ["Database", "Options", "Result", "chosen", "command", "run"]
