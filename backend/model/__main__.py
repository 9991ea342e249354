"""python -m model: look at all moments of some worlds; say "holds", or show the shortest way to where it does not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

from model.check import Result, Search
from model.state import Bounds
from model.worlds import BEYOND, GUARDS, SMALL, WORLDS, Guard


def main() -> int:
    """0 when everything holds and each guard that was taken out was missed."""
    asked = _arguments()
    tables = [_without] * (asked.everything or asked.without == "all")
    tables += [_beyond] * (asked.everything or asked.beyond == "all")
    codes = []
    if asked.everything or not tables:
        codes = [_show(name, Search(world).run(asked.bound)) for name, world in _worlds(asked)]
    return max(codes + [table() for table in tables])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="model", description="The delivery protocol, looked at in all its moments."
    )
    parser.add_argument("--world", choices=sorted(WORLDS), help="one of the prepared worlds (default: all)")
    parser.add_argument("--everything", action="store_true", help="all worlds, and both tables: `make model`")
    parser.add_argument("--small", action="store_true", help="only the small ones")
    parser.add_argument("--messages", type=int, help="a world of your own: messages in each lane")
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--retries", type=int, default=2)
    parser.add_argument(
        "--presses", type=int, default=1, help='how often a person presses "send anyway" or "again"'
    )
    parser.add_argument("--faults", default="crash slow blind refuse flushall")
    parser.add_argument("--persons", default="")
    parser.add_argument("--bound", type=int, default=2_000_000, help="look at so many moments at most")
    parser.add_argument("--without", choices=[*GUARDS, "all"], help="take a guard out")
    parser.add_argument("--beyond", choices=[*BEYOND, "all"], help="let happen what no rule closes")
    return parser.parse_args()


def _worlds(asked: argparse.Namespace) -> Iterable[tuple[str, Bounds]]:
    taken = asked.without or asked.beyond
    shown = asked.world or (taken and (GUARDS | BEYOND)[taken].world)
    if asked.messages:
        lanes = (asked.messages,) * asked.lanes
        worlds = {
            "your world": Bounds(
                lanes, asked.workers, asked.retries, asked.presses, asked.faults, asked.persons
            )
        }
    elif shown:
        worlds = {shown: WORLDS[shown]}
    else:
        worlds = SMALL if asked.small else WORLDS
    without, beyond = (frozenset(filter(None, [name])) for name in (asked.without, asked.beyond))
    return [(name, replace(world, without=without, beyond=beyond)) for name, world in worlds.items()]


def _show(name: str, result: Result) -> int:
    verdict = result.broken or ("holds" if result.complete else "holds so far, the bound is reached")
    _say(f"{name:<24} {result.states:>9,} states {result.seconds:6.1f} s   {verdict}")
    for number, label in enumerate(result.trace, 1):
        _say(f"  {number:>3}. {label}")
    return int(result.broken is not None)


def _without() -> int:
    return _table("without", GUARDS)


def _beyond() -> int:
    return _table("beyond", BEYOND)


def _table(what: str, guards: Mapping[str, Guard]) -> int:
    """Each in turn, in its own world; 1 when one of them shows no counterexample."""
    missed = 0
    _say(f"\n{what:<24} {'steps':>5}  counterexample")
    for name, guard in guards.items():
        world, taken = WORLDS[guard.world], frozenset([name])
        beyond = what == "beyond"
        result = Search(replace(world, beyond=taken) if beyond else replace(world, without=taken)).run()
        missed += result.broken is None
        _say(f"{name:<24} {len(result.trace) or '-':>5}  {result.broken or 'not found'}")
        _say(f"{'':<32}{guard.says} (world: {guard.world})")
    return min(missed, 1)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
