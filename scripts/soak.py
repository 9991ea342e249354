"""`make soak`: half an hour at half load. What grows?

Starts a system of its own on spare ports (web server, stream worker, list consumer, media worker, Redis, a database,
the Evolution simulator), sends at a steady rate while customers write and acknowledge, browsers read along and photos
come. Every half minute it looks: memory, open files and processor time of each process, latencies, streams, lists, the
journal, connections.

At the end nothing may be lost, doubled or out of order, and the streams must be empty. Memory must be flat (the line
through the last two thirds rises less than 2 MB in 10 minutes), and so must latency (the last third's median at most
1.3 times the first's; not judged when others kept the machine full) and whatever else is counted. Exit status 1 when
something is not. Ctrl-C ends the load and tells what was measured; a second one ends it all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "backend"))

from bench import machine, soak, soak_load, soak_system  # noqa: E402
from bench.soak_load import Shape  # noqa: E402
from drill.database import databases  # noqa: E402
from drill.load import Ledger, Load  # noqa: E402
from drill.world import clean_environment  # noqa: E402
from testing.process import ServerError  # noqa: E402

EVERY_SECONDS = 30.0
FEWEST_SAMPLES = 12
QUIET_SECONDS = 60.0


@dataclass
class Told:
    """What a soak has to tell, however far it came."""

    samples: list[soak.Sample] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    interrupted: bool = False


def main() -> None:
    options = _options()
    clean_environment()
    shape = Shape(
        rate=options.rate,
        incoming=options.incoming,
        conversations=options.conversations,
        sockets=options.sockets,
        seconds=options.minutes * 60,
        seed=options.seed,
    )
    print("\n".join(machine.describe()[:4]))
    told = Told()
    with tempfile.TemporaryDirectory(prefix="alrea-soak-") as name:
        Path(name).chmod(0o755)
        try:
            _soak(shape, options, Path(name), told)
        except KeyboardInterrupt:
            told.interrupted = True
            told.violations.append("ended before all was quiet")
        except (AssertionError, ServerError) as error:
            told.violations.append(str(error))
    sys.exit(_report(told, shape, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="of load (30); memory is judged from 15 on")
    parser.add_argument("--rate", type=float, default=15, help="messages we send a second (15)")
    parser.add_argument("--incoming", type=float, default=5, help="messages customers write a second (5)")
    parser.add_argument("--conversations", type=int, default=100, help="over so many conversations (100)")
    parser.add_argument("--sockets", type=int, default=5, help="browsers that read along (5)")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--inside", action="store_true", help="no workers: consumers within the web server")
    parser.add_argument("--seed", type=int, default=1, help="of numbers and of the simulator's delays (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    return parser.parse_args()


def _soak(shape: Shape, options: argparse.Namespace, directory: Path, told: Told) -> None:
    kind, inside = options.database, options.inside
    with databases(kind, directory) as source:
        database = source.new("soak", directory)
        with soak_system.open_world(directory, database, shape.seed, inside=inside) as world:
            processes = soak_system.start_all(world, inside=inside)
            print(
                f"{kind}: sending {shape.rate:g}/s, customers write {shape.incoming:g}/s\n{soak.head(list(processes))}"
            )
            stop, ledger = threading.Event(), Ledger()
            looks = soak_system.Looks(world, ledger, processes, samples=told.samples)
            customers = soak_load.Customers(world, shape, stop)
            sockets = soak_load.Sockets(world, shape.sockets)
            with sockets.reading():
                with customers.writing():
                    _under_load(soak_load.load(world, shape, ledger, stop), looks, shape, stop, told)
                told.violations += _wait_until_quiet(looks)
            told.figures, wrong = soak_system.end(looks, customers, sockets)
            told.violations += wrong


def _under_load(
    load: Load, looks: soak_system.Looks, shape: Shape, stop: threading.Event, told: Told
) -> None:
    """Sample until the time is over, or somebody presses Ctrl-C."""
    try:
        with load:
            looks.begin()
            for until in _moments(shape.seconds):
                time.sleep(max(0.0, until - time.monotonic()))
                print(soak.line(looks.take()), flush=True)
    except KeyboardInterrupt:
        told.interrupted = True
        print("interrupted: waiting until what was begun is done", flush=True)
    finally:
        stop.set()


def _moments(seconds: float) -> Iterator[float]:
    """When to look; a short run is looked at more often."""
    began, every = time.monotonic(), min(EVERY_SECONDS, seconds / FEWEST_SAMPLES)
    for n in range(1, int(seconds / every) + 1):
        yield began + n * every


def _wait_until_quiet(looks: soak_system.Looks) -> list[str]:
    """Wait as long as what is left becomes less; what is wrong when it does not."""
    least, end = float("inf"), time.monotonic() + QUIET_SECONDS
    while left := looks.left():
        if sum(left.values()) < least:
            least, end = sum(left.values()), time.monotonic() + QUIET_SECONDS
        if time.monotonic() > end:
            told = ", ".join(f"{count} {name}" for name, count in left.items())
            return [f"no less to do for {QUIET_SECONDS:g} s: {told}"]
        time.sleep(1)
    return []


def _report(told: Told, shape: Shape, options: argparse.Namespace) -> int:
    """Print what was found; the exit status."""
    # With figures, we came to the end, and the last look was at a quiet system.
    rest = told.samples[-1] if told.figures else None
    found = soak.findings(told.samples[:-1] if rest else told.samples, rest)
    print()
    for one in found:
        print(f"{'GREW' if one.grew else '  - ' if one.grew is None else '  ok'}  {one.name:30} {one.told}")
    print("\n" + ", ".join(f"{name} {number}" for name, number in told.figures.items()))
    line = soak.verdict(found, told.violations, interrupted=told.interrupted)
    print(line)
    bad = bool(told.violations) or any(one.grew for one in found)
    if options.json:
        options.json.write_text(json.dumps(_as_json(told, found, shape, line, ok=not bad), indent=2) + "\n")
    return int(bad)


def _as_json(told: Told, found: list[soak.Finding], shape: Shape, line: str, *, ok: bool) -> dict[str, Any]:
    return {
        "ok": ok,
        "verdict": line,
        "shape": asdict(shape),
        "findings": [asdict(one) for one in found],
        "violations": told.violations,
        "figures": told.figures,
        "samples": [asdict(one) for one in told.samples],
    }


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
