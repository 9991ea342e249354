"""Workers of the lists that die with work in their hands, and a deployment that has no others."""

from __future__ import annotations

import contextlib
import time
from typing import Final

import redis
from testing.lists import ListWorker

from drill.scenario import Drill, scenario

LISTS_DB: Final = 2
PICTURE: Final = "chat/fetchProfilePictureUrl"
QUEUES: Final = ("send_message", "fetch_profile_pic", "fetch_group_info", "fetch_contact_name")


def _list_worker(drill: Drill, **env: str) -> ListWorker:
    world = drill.world
    name = f"list-worker-{len(world.workers) + 1}"
    worker = ListWorker(world.directory, {**world.env, **env}, name=name)
    world.workers.append(worker)
    worker.launch()
    worker.wait_ready(60)
    return worker


def _left(drill: Drill) -> dict[str, int]:
    """Items of each list: waiting, in somebody's hands, put off, given up."""
    with contextlib.closing(
        redis.Redis(port=drill.world.redis.port, db=LISTS_DB, socket_timeout=5, decode_responses=True)
    ) as client:
        left = {"dead": int(client.llen("chat:queue:dead"))}
        for queue in QUEUES:
            hands = list(client.scan_iter(f"chat:lists:hand:{queue}:*"))
            left[f"{queue} in hand"] = sum(int(client.llen(hand)) for hand in hands)
            left[queue] = int(client.llen(f"chat:queue:{queue}"))
            left[f"{queue} later"] = int(client.zcard(f"chat:lists:later:{queue}"))
    return {name: count for name, count in left.items() if count}


def _check_lists_empty(drill: Drill) -> None:
    deadline = time.monotonic() + 30
    while (left := _left(drill)) and time.monotonic() < deadline:
        time.sleep(0.2)
    drill.check(not left, f"left in the lists: {left}")


@scenario(33, "list-kill", "kill -9 of a list worker with items in hand",
          "the items return and are done once; messages notice nothing")  # fmt: skip
def list_kill(drill: Drill) -> None:
    drill.warm_up()
    drill.worker()
    drill.world.fault(match={"endpoint": PICTURE}, answer="hang")
    dying = _list_worker(drill)
    lanes = drill.lanes(6)  # each asks for a picture
    with drill.load(lanes=lanes, rate=60):
        drill.wait_for(lambda: _left(drill).get("fetch_profile_pic in hand", 0) >= 6, 30, "items in hand")
        dying.kill()
        drill.say("the list worker is killed with its hand full")
        before = drill.world.asked(PICTURE)
        drill.world.heal()
        _list_worker(drill)
        died = time.monotonic()
    drill.settle()
    _check_lists_empty(drill)
    drill.figure("lists_empty_after", time.monotonic() - died)
    asked = drill.world.asked(PICTURE) - before
    drill.figure("asked_again", asked)
    drill.check(asked <= 7, f"{asked} questions after the death, for at most 7 people")


@scenario(33, "lists-alone", "list workers only, killed again and again under load",
          "the lists alone deliver everything", settings={"CHAT_SEND_TRANSPORT": "list"})  # fmt: skip
def lists_alone(drill: Drill) -> None:
    worker = _list_worker(drill)
    canary = drill.post(drill.lanes(1)[0], f"canary {drill.seed}")
    drill.wait_for(lambda: drill.status(canary) in ("delivered", "seen"), 40, "the canary")
    with drill.load(rate=60) as load:
        for part in (0.2, 0.4, 0.6, 0.8):
            load.wait(part)
            worker.kill()
            worker = _list_worker(drill)
    drill.settle()
    _check_lists_empty(drill)
