"""What people see in their browsers while their connections break."""

from __future__ import annotations

import contextlib
from collections import Counter

from drill.browser import Browser
from drill.scenario import Drill, scenario

BROWSERS = 10


@scenario(
    37,
    "sockets-dropped",
    "ten browsers' sockets cut at random, again and again under load",
    "what events told each of them is what the API answers, without a hole or a repeat",
)
def sockets_dropped(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    lanes = drill.lanes(12)
    with contextlib.ExitStack() as stack:
        browsers = [stack.enter_context(Browser(drill.tenant, f"{drill.seed}-{n}")) for n in range(BROWSERS)]
        for browser in browsers:
            browser.wait_open()
            browser.drops.set()
        with drill.load(lanes=lanes, rate=60):
            pass
        drill.settle()
        drill.wait_for(lambda: not _unacknowledged(drill), 60, "the last ack")
        for browser in browsers:
            browser.drops.clear()
        truth = {message.id: drill.status(message) for message in drill.ledger.owed[1:]}  # after the canary
        for browser in browsers:
            drill.wait_for(lambda: not _wrong(browser, truth), 20, "the end of a browser's events")  # noqa: B023
        _judge(drill, browsers)


def _unacknowledged(drill: Drill) -> int:
    return drill.world.database.number(
        "SELECT count(*) FROM chat_message WHERE direction = 'outgoing' AND ack < 3"
    )


def _wrong(browser: Browser, truth: dict[str, str]) -> list[str]:
    """The messages of which the browser believes something else."""
    believed = {message.replace("-", ""): status for message, status in browser.view.status.items()}
    return [message for message, status in truth.items() if believed.get(message) != status]


def _judge(drill: Drill, browsers: list[Browser]) -> None:
    counts = sum((browser.view.counts for browser in browsers), Counter[str]())
    for name in ("drops", "resyncs", "holes", "repeats"):
        drill.figure(name, counts[name])
    drill.check(counts["drops"] >= drill.messages // 10, "hardly a socket was cut: the drill did nothing")
    for name in ("resyncs", "holes", "repeats"):
        drill.check(not counts[name], f"{name} = {counts[name]}")
