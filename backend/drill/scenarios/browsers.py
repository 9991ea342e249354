"""What people see in their browsers while their connections break."""

from __future__ import annotations

import contextlib
from collections import Counter

from drill.browser import Browser
from drill.scenario import Drill, scenario

BROWSERS = 5
MOST_MESSAGES = 600  # the browsers live in one process of ours: more than it can follow would test itself


@scenario(
    37,
    "sockets-dropped",
    "five browsers' sockets cut at random, again and again under load",
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
        with drill.load(min(drill.messages, MOST_MESSAGES), lanes, rate=30):
            pass
        drill.settle()
        drill.wait_for(lambda: not _unacknowledged(drill), 60, "the last ack")
        for browser in browsers:
            browser.drops.clear()
        truth = {message.id: drill.status(message) for message in drill.ledger.owed[1:]}  # after the canary
        for browser in browsers:
            with contextlib.suppress(AssertionError):
                drill.wait_for(lambda: not _wrong(browser, truth), 20, "the end of its events")  # noqa: B023
            wrong = _wrong(browser, truth)
            drill.check(not wrong, f"{len(wrong)} messages look different to a browser, as {wrong[:3]}")
        _judge(drill, browsers)


def _unacknowledged(drill: Drill) -> int:
    return drill.world.database.number(
        "SELECT count(*) FROM chat_message WHERE direction = 'outgoing' AND ack < 3"
    )


def _wrong(browser: Browser, truth: dict[str, str]) -> list[tuple[str | None, str]]:
    """What the browser believes of messages of which the API says something else, and what the API says."""
    believed = {message.replace("-", ""): status for message, status in browser.view.status.items()}
    return [
        (believed.get(message), status)
        for message, status in truth.items()
        if believed.get(message) != status
    ]


def _judge(drill: Drill, browsers: list[Browser]) -> None:
    counts = sum((browser.view.counts for browser in browsers), Counter[str]())
    for name in ("drops", "resyncs", "holes", "repeats"):
        drill.figure(name, counts[name])
    drill.check(
        counts["drops"] >= min(drill.messages, MOST_MESSAGES) // 10,
        "hardly a socket was cut: the drill did nothing",
    )
    for name in ("resyncs", "holes", "repeats"):
        drill.check(not counts[name], f"{name} = {counts[name]}")
