"""Webhooks that come ten times, shuffled or forged; buttons pressed twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx

from drill.oracle import Owed
from drill.scenario import Drill, scenario


@scenario(
    31,
    "webhooks-in-disorder",
    "every webhook about ten times, shuffled, some before the answer; others forged",
    "one state; the forged are refused",
)
def webhooks_in_disorder(drill: Drill) -> None:
    for copy in range(3):
        drill.world.fault(webhook="duplicate", seconds=0.05 * (copy + 1))
    drill.world.fault(webhook="shuffle", seconds=1.0)
    drill.world.simulator.control("POST", "switches", {"echo": "before"})
    drill.warm_up()
    drill.worker()
    lanes = drill.lanes(12)
    answers = 40
    # Each message is some fifty webhooks: more at once would show how a server queues, not what disorder does.
    with drill.load(min(drill.messages, 300), lanes=lanes, rate=10):
        for n in range(answers):
            drill.world.simulator.control(
                "POST", f"customers/{lanes[n % 12].phone}/say", {"instance": "drill", "text": f"answer {n}"}
            )
        _forge(drill)
    drill.settle()
    drill.wait_for(lambda: _incoming(drill) >= answers, 60, "the customers' answers")
    drill.wait_for(lambda: _not_seen(drill) == 0, 60, "every message to be seen")
    drill.check(_incoming(drill) == answers, f"{_incoming(drill)} of {answers} answers were stored")
    again = sum(row.attempts > 1 for row in drill.rows().values())
    drill.check(not again, f"{again} messages were tried twice")


def _incoming(drill: Drill) -> int:
    return drill.world.database.number("SELECT count(*) FROM chat_message WHERE direction = 'incoming'")


def _not_seen(drill: Drill) -> int:
    return drill.world.database.number(
        "SELECT count(*) FROM chat_message WHERE direction = 'outgoing' AND ack < 4"
    )


def _forge(drill: Drill) -> None:
    """An incoming message with a wrong secret, with none, and with the header's name as it is not."""
    given = drill.tenant.given
    event = {"event": "messages.upsert", "instance": "drill", "data": {"message": {"conversation": "forged"}}}
    for headers in ({given["webhook_header"]: "wrong"}, {}, {"apikey": given["webhook_secret"]}):
        answer = httpx.post(given["webhook_url"], json=event, headers=headers, timeout=30, trust_env=False)
        drill.check(answer.status_code == 401, f"a forged webhook was answered {answer.status_code}")


@scenario(
    35,
    "pressed-twice",
    "retry and replay of failed messages pressed ten times at once",
    "one send each",
    settings={"CHAT_STREAM_MAX_RETRIES": "1"},
)
def pressed_twice(drill: Drill) -> None:
    drill.warm_up()
    drill.world.fault(preset="E5", times=10_000)
    drill.worker()
    lanes = drill.lanes(10)
    failed = [drill.post(lane) for lane in lanes]
    drill.wait_for(lambda: all(drill.status(one) == "failed" for one in failed), 60, "the failures")
    drill.world.heal()
    drill.say("ten messages have failed; every button is pressed ten times at once")
    codes: Counter[int] = Counter()
    presses = [_press(drill, message, codes) for message in failed for _ in range(10)]
    drill.rng.shuffle(presses)
    _at_once(presses)
    for code in sorted(codes):
        drill.figure(f"answered_{code}", codes[code])
    drill.check(codes[200] == len(failed), f"{codes[200]} of {len(failed)} presses were taken")
    drill.settle()


def _press(drill: Drill, message: Owed, codes: Counter[int]) -> Callable[[], None]:
    """One press of one of the two buttons."""
    shown = drill.shown(message)
    path = drill.rng.choice(["messages/{}/retry-send/", "dead-letters/{}/replay/"]).format(UUID(message.id))
    body: dict[str, Any] = {"failure_gen": shown["failure_gen"]} if "failure_gen" in shown else {}

    def press() -> None:
        answer = drill.tenant.http.post(f"/api/chat/{path}", json=body)
        codes[answer.status_code] += 1

    return press


def _at_once(presses: list[Callable[[], None]]) -> None:
    """All of them, from eight threads."""

    def work(share: list[Callable[[], None]]) -> None:
        for press in share:
            press()

    threads = [threading.Thread(target=work, args=(presses[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
