"""`make bench`: start servers, install peers, measure round by round, print the goals, write docs/benchmarks.md.

    python -m bench [--quick] [--rounds 3] [--only f1 f3 …] [--no-peers] [--no-write]

Rounds are interleaved: each takes every measure once, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from testing import rabbitmq, servers
from testing.process import ServerMissing

from bench import machine, peers, report
from bench.bench import FULL, QUICK, Bench, Sizes
from bench.measures import sending, serving, sockets, streams
from bench.world import SERVER_CORE, World

DOCUMENT = servers.BACKEND.parent / "docs" / "benchmarks.md"
BUSY = 1.0

Measure = Callable[[Bench, int], None]
MEASURES: tuple[tuple[str, Measure], ...] = (
    ("f1 f6", streams.drain),
    ("f1 f6", streams.peers_drain),
    ("f2", streams.latency),
    ("f3 f7 f8", sending.whole_path),
    ("f3", sending.yardsticks),
    ("f4", serving.api),
    ("f5", serving.journal),
    ("f7", serving.pages),
    ("f7 f8", streams.long_stream),
    ("f9", sockets.fanout),
    ("f10", sending.scale_out),
)


def main() -> None:
    """Run the bench and print what came of it."""
    options = parsed()
    sizes = dataclasses.replace(QUICK if options.quick else FULL)
    if options.rounds:
        sizes = dataclasses.replace(sizes, rounds=options.rounds)
    began, about = time.monotonic(), machine.describe()
    with tempfile.TemporaryDirectory(prefix="alrea-bench-") as place, contextlib.ExitStack() as stack:
        bench = prepare(stack, Path(place), sizes, options)
        measure(bench, options.only, began)
        run = report.Run(bench.samples, about, sizes.rounds, options.quick, notes=bench.notes)
        run.minutes = (time.monotonic() - began) / 60
    print(report.terminal(run))
    if not options.no_write:
        DOCUMENT.write_text(report.markdown(run, former()))
        say(f"written: {DOCUMENT.relative_to(DOCUMENT.parent.parent)}")


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure, beside a yardstick and other systems."
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of everything, small counts: under 4 minutes"
    )
    parser.add_argument("--rounds", type=int, default=0, help="how often (default 3, quick 1)")
    parser.add_argument("--only", nargs="+", metavar="F", help="only what these goals need, as in f1 f3")
    parser.add_argument("--no-peers", action="store_true", help="install nothing")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md alone")
    return parser.parse_args()


def prepare(stack: contextlib.ExitStack, directory: Path, sizes: Sizes, options: argparse.Namespace) -> Bench:
    """Servers, databases, peers."""
    say("servers and databases")
    directory.chmod(0o755)
    world = World(stack, directory)
    small = 1000
    bench = Bench(world, sizes, empty=world.database("empty", small), full=world.database("full", small))
    if machine.load() > BUSY:
        bench.notes.append(
            f"The machine was busy with something else (load {machine.load():.1f}) when this began: "
            "figures are too low and too wide, ratios less so."
        )
    if wanted("f7", options.only):
        say(f"{sizes.history:,} stored messages")
        bench.full = world.database("filled", sizes.conversations)
        world.seed(bench.full, do="history", messages=sizes.history, conversations=sizes.conversations)
    if wanted("f1", options.only) and not options.no_peers:
        add_peers(bench, stack, directory, quick=options.quick)
    return bench


def add_peers(bench: Bench, stack: contextlib.ExitStack, directory: Path, *, quick: bool) -> None:
    """Install those that can be, start RabbitMQ when it is there, and note the rest."""
    for peer in peers.PEERS:
        if quick and not peer.quick:
            continue
        say(f"installing {peer.name}")
        try:
            if peer.amqp:
                broker = stack.enter_context(rabbitmq.rabbitmq())
                machine.pin(broker.pid, SERVER_CORE)
                bench.amqp_url = broker.url
            bench.peers[peer.name] = peers.install(peer, directory / "peers")
        except (peers.NotInstalled, ServerMissing) as error:
            bench.notes.append(f"{peer.name} was left out: {error}")


def wanted(numbers: str, only: list[str] | None) -> bool:
    """Whether any of these goals was asked for."""
    return not only or bool(set(numbers.split()) & {number.lower() for number in only})


def measure(bench: Bench, only: list[str] | None, began: float) -> None:
    """All rounds. What does not fit into the time is left out, and told."""
    for turn in range(bench.sizes.rounds):
        for numbers, one in MEASURES:
            if not wanted(numbers, only):
                continue
            if turn and time.monotonic() - began > bench.sizes.minutes * 60:
                bench.notes.append(f"Round {turn + 1} ended before {one.__name__}: the time was over.")
                return
            attempt(bench, one, turn)


def attempt(bench: Bench, one: Measure, turn: int) -> None:
    """One measure of one round; its failure is noted and the others go on."""
    began = time.monotonic()
    try:
        one(bench, turn)
    except Exception as error:  # a bench that stops at the first trouble tells nothing about the rest
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        bench.notes.append(f"Round {turn + 1}, {one.__name__}: {type(error).__name__}: {str(error)[:300]}")
        say(bench.notes[-1])
    say(f"round {turn + 1} {one.__name__} {time.monotonic() - began:.1f} s")


def former() -> str:
    """What people wrote in the document."""
    return report.kept_part(DOCUMENT.read_text()) if DOCUMENT.exists() else ""


def say(what: str) -> None:
    """Progress, on stderr."""
    print(what, file=sys.stderr, flush=True)
