"""python -m model: look at all moments of some worlds; say "holds", or show the shortest way to where it does not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

from model.check import Result, Search
from model.state import Bounds
from model.worlds import BEYOND, GUARDS, LARGE, SMALL, Guard

WORLDS = SMALL | LARGE


def main() -> int:
    """0 when everything holds and each guard that was taken out was missed."""
    asked = _arguments()
    if asked.without == "all" or asked.beyond == "all":
        return _table(GUARDS, "without") if asked.without == "all" else _table(BEYOND, "beyond")
    taken = frozenset(filter(None, [asked.without])), frozenset(filter(None, [asked.beyond]))
    worlds = {name: replace(world, without=taken[0], beyond=taken[1]) for name, world in _worlds(asked)}
    return max(_show(name, Search(world).run(asked.bound)) for name, world in worlds.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="model", description="The delivery protocol, looked at in all its moments."
    )
    parser.add_argument("--world", choices=sorted(WORLDS), help="one of the prepared worlds (default: all)")
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
    parser.add_argument("--times", type=int, nargs=4, default=(1, 0, 1, 1), metavar=("F", "G", "D", "V"))
    parser.add_argument("--bound", type=int, default=2_000_000, help="look at so many moments at most")
    parser.add_argument("--without", choices=[*GUARDS, "all"], help="take a guard out")
    parser.add_argument("--beyond", choices=[*BEYOND, "all"], help="let happen what no rule closes")
    return parser.parse_args()


def _worlds(asked: argparse.Namespace) -> Iterable[tuple[str, Bounds]]:
    if asked.messages:
        yield (
            "your world",
            Bounds(
                (asked.messages,) * asked.lanes,
                asked.workers,
                asked.retries,
                asked.presses,
                asked.faults,
                asked.persons,
                tuple(asked.times),
            ),
        )
    elif asked.world:
        yield asked.world, WORLDS[asked.world]
    elif asked.without or asked.beyond:
        shown = (GUARDS | BEYOND)[asked.without or asked.beyond].world
        yield shown, WORLDS[shown]
    else:
        yield from (SMALL if asked.small else WORLDS).items()


def _show(name: str, result: Result) -> int:
    verdict = result.broken or ("holds" if result.complete else "holds so far, the bound is reached")
    _say(f"{name:<24} {result.states:>9,} states {result.seconds:6.1f} s   {verdict}")
    for number, label in enumerate(result.trace, 1):
        _say(f"  {number:>3}. {label}")
    return int(result.broken is not None)


def _table(guards: Mapping[str, Guard], what: str) -> int:
    found = 0
    _say(f"{what:<24} {'steps':>5}  counterexample, in the world")
    for name, guard in guards.items():
        taken = frozenset([name])
        world = WORLDS[guard.world]
        result = Search(
            replace(world, without=taken) if what == "without" else replace(world, beyond=taken)
        ).run()
        found += result.broken is not None
        _say(f"{name:<24} {len(result.trace) or '-':>5}  {result.broken or 'not found'}  ({guard.world})")
    return int(found < len(guards))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
