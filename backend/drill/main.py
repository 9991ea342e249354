"""The body of `chat_drill`."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn, Protocol

from testing.servers import ServerError, ServerMissing

from drill import report, scenarios
from drill.runner import Options, Result, chosen, run
from drill.scenario import Scenario
from drill.times import REAL, SHORT
from drill.world import clean_environment

Tell = Callable[[str], None]


class Stream(Protocol):
    """Where lines go (Django's OutputWrapper, which ends them)."""

    def write(self, msg: str = "", /) -> int | None: ...

    def flush(self) -> None: ...


class Refused(Exception):
    """The command cannot run as asked; the text is a sentence for the person who gave it."""


def main(wanted: Mapping[str, Any], out: Stream, err: Stream) -> bool:
    """Run what the command's options ask for; False when a guarantee did not hold.

    Raises:
        Refused: no such scenario, or a server is not installed.
    """
    scenarios.load()
    tell = _telling(out)
    try:
        picked = chosen(wanted["fault"] or ())
    except LookupError as error:
        raise Refused(error.args[0]) from None
    if wanted["list"]:
        tell(report.listing(picked))
        return True
    clean_environment()
    signal.signal(signal.SIGTERM, _interrupt)
    seed = secrets.randbelow(1_000_000) if wanted["seed"] is None else wanted["seed"]
    progress = _telling(err) if wanted["json"] else tell
    progress(f"seed {seed}")
    results = list(_results(picked, wanted, seed, progress))
    _print(results, wanted, seed, tell)
    return all(result.ok for result in results)


def _telling(stream: Stream) -> Tell:
    """Lines that are seen at once, through a pipe too."""

    def tell(line: str) -> None:
        stream.write(line)
        stream.flush()

    return tell


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a drill as Ctrl-C does: its servers go with it."""
    raise KeyboardInterrupt


def _results(
    picked: list[Scenario], wanted: Mapping[str, Any], seed: int, progress: Tell
) -> Iterator[Result]:
    both = wanted["database"] == "both"
    for database in ("sqlite", "postgresql") if both else (wanted["database"],):
        times = REAL if wanted["real_times"] else SHORT
        options = Options(database, seed, wanted["messages"], times, wanted["keep"])
        try:
            yield from run(picked, options, progress)
        except ServerMissing as missing:
            if not both:
                raise Refused(str(missing)) from None
            progress(f"SKIPPED: all drills on {database}. {missing}")
        except ServerError as error:
            raise Refused(str(error)) from None


def _print(results: list[Result], wanted: Mapping[str, Any], seed: int, out: Tell) -> None:
    if wanted["json"]:
        sound = all(result.ok for result in results)
        out(json.dumps({"ok": sound, "seed": seed, "results": [result.as_json() for result in results]}))
        return
    out("\n" + report.table(results))
    out(f"\nseed {seed}")
    for result in results:
        if not result.skipped and len(results) == 1:
            out(f"again: {result.command}")
