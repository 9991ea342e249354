"""Events and tickets for sockets.

    python -m bench.inside.fanout tickets '{"user": "<uuid>", "count": 1000}'      prints {"tickets": […]}
    python -m bench.inside.fanout publish '{"tenant": "<uuid>", "events": 20, "pause": 0.2}'

An event carries the moment before it was published, as `at_ns`: what our own code does right after a commit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django

django.setup()

from apps.chat.realtime import broadcast, events, tickets  # noqa: E402


def _event() -> dict[str, Any]:
    """As long as the event of a short message."""
    return {"type": events.TYPING, "padding": "x" * 400, "at_ns": time.time_ns()}


def main() -> None:
    """Do what the arguments ask for."""
    given = json.loads(sys.argv[2])
    if sys.argv[1] == "tickets":
        print(json.dumps({"tickets": [tickets.issue(given["user"]) for _ in range(given["count"])]}))
        return
    broadcast.publish(given["tenant"], _event())
    broadcast.flush(5)
    for _ in range(given["events"]):
        time.sleep(given["pause"])
        broadcast.publish(given["tenant"], _event())
    print(json.dumps({"flushed": broadcast.flush(5)}))


if __name__ == "__main__":
    main()
