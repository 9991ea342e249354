"""The lists in a deployment: kill -9 with an item in hand, lists alone, and moving between lists and streams.

docs/rollback.md tells people to do what `test_there_and_back` does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
import redis
from alrea_sense.redis_url import with_database
from testing import servers
from testing.lists import ListWorker
from testing.waiting import eventually

from apps.chat import redis_queue
from apps.chat.models import Contact, Delivery
from apps.chat.tests.flow.world import CLEAN, World, build, spread

ANA = "5511990000001"
FETCH = "chat/fetchProfilePictureUrl"
QUICK_TO_DIE = {"CHAT_HEARTBEAT_SECONDS": "0.3", "CHAT_HEARTBEAT_DEAD_SECONDS": "1.5"}


@contextlib.contextmanager
def list_worker(world: World, *queues: str, **env: str) -> Iterator[ListWorker]:
    with (
        servers.directory_for("lists") as path,
        ListWorker(path, {**world.env, **env}, *queues) as worker,
    ):
        yield worker


def asked(world: World, endpoint: str) -> int:
    return int(world.simulator.control("GET", "requests")["requests"].get(endpoint, 0))


def client_of(world: World, database: int) -> redis.Redis:
    return redis.Redis.from_url(with_database(world.env["REDIS_URL"], database), decode_responses=True)


def figures(world: World, name: str) -> dict[str, Any]:
    metrics = world.http.get("/api/chat/reactions/queues/status/").json()["metrics"]
    return {**metrics[name], "dead": metrics["dead"]["length"]}


def picture_of(world: World) -> str:
    return str(Contact.objects.values_list("picture", flat=True).get(phone__endswith=ANA[-8:]))


# --- an item in hand (RELIABILITY, row 33) --------------------------------------------------------


def test_a_list_worker_killed_with_an_item_in_hand(world: World) -> None:
    """The item returns to the list, is done once by the next worker, and nothing of it stays behind."""
    world.simulator.control(
        "POST", "customers", {"number": ANA, "picture": f"{world.simulator.url}/pictures/view?of={ANA}"}
    )
    world.simulator.control("POST", "faults", {"match": {"endpoint": FETCH}, "answer": "hang"})
    with list_worker(world, **QUICK_TO_DIE) as dying:
        world.conversation(ANA)
        eventually(lambda: asked(world, FETCH) == 1, 20, "the question to be under way")
        assert figures(world, "fetch_profile_pic")["in_hand"] == 1
        dying.kill()
    assert figures(world, "fetch_profile_pic")["in_hand"] == 1, "still in the hand of the dead"
    world.simulator.control("DELETE", "faults")
    with list_worker(world, **QUICK_TO_DIE) as next_one:
        eventually(lambda: picture_of(world), 20, "the picture to be there")
        next_one.wait_for_line("items of a dead consumer returned", 10)
        eventually(
            lambda: (
                not any(
                    figures(world, "fetch_profile_pic")[part]
                    for part in ("length", "in_hand", "later", "dead")
                )
            ),
            10,
            "nothing to be left",
        )
        assert asked(world, FETCH) == 2
        next_one.terminate()
        next_one.wait(20)
    with client_of(world, 2) as lists:
        left = [key for key in lists.scan_iter("*") if not key.startswith(f"{redis_queue.LISTS_PREFIX}asked")]
        assert left == [], "no hand, no register, no item"


def test_a_list_worker_that_only_fetches_sends_nothing(world: World) -> None:
    with list_worker(world, "fetch_profile_pic", "fetch_contact_name"):
        world.send(world.conversation(ANA))
        eventually(lambda: asked(world, FETCH) == 1, 20, "the picture to be asked for")
        eventually(lambda: not figures(world, "fetch_contact_name")["length"], 10, "the name to be asked for")
        assert Delivery.objects.get().state == Delivery.State.QUEUED
        assert world.simulator.accepted() == []


# --- lists alone ----------------------------------------------------------------------------------


@pytest.fixture
def lists_only(child_env: Mapping[str, str]) -> Iterator[World]:
    with build({**child_env, "CHAT_SEND_TRANSPORT": "list"}) as built:
        yield built


@pytest.mark.slow
def test_lists_alone_deliver_in_order_through_a_retry_and_a_kill(lists_only: World) -> None:
    """No stream worker anywhere: wake-ups, retries, what a person presses and read receipts all work."""
    world = lists_only
    with list_worker(world):
        world.wait_until(world.send(world.conversation("5511400009999")), "delivered", "seen")
    lanes = spread(world, 3)
    dying = {"CHAT_FAIL_AT": "answer:exit"}
    with list_worker(world, **dying) as worker:
        for n in range(9):
            world.send(lanes[n % 3])
        worker.wait(20)
    fault = {"match": {"endpoint": "message/sendText"}, "times": 1, "accept": False}
    world.simulator.control("POST", "faults", {**fault, "answer": {"status": 500}})
    with list_worker(world):
        world.settle(within=40)
        assert world.verdict() == CLEAN
        assert Delivery.objects.exclude(state=Delivery.State.SENT).count() == 0
        _retry_by_hand(world, lanes[0])
        _read_receipt(world, lanes[0])
    with client_of(world, 3) as streams:
        assert streams.xlen("chat:stream:send_message") == 0, "nobody would ever read it"


def _retry_by_hand(world: World, conversation: str) -> None:
    """A person's retry wakes the lane through the list, too."""
    refusal = {"match": {"endpoint": "message/sendText"}, "times": 1, "accept": False}
    world.simulator.control("POST", "faults", {**refusal, "answer": {"status": 413, "body": {}}})
    message = world.send(conversation)
    world.wait_until(message, "failed")
    assert world.http.post(f"/api/chat/messages/{message}/retry-send/").status_code in (200, 202)
    world.wait_until(message, "submitted", "sent", "delivered", "seen", within=10)


def _read_receipt(world: World, conversation: str) -> None:
    shown = world.http.get(f"/api/chat/conversations/{conversation}/").json()
    phone = shown["contact"]["phone"]
    world.simulator.control("POST", f"customers/{phone}/say", {"instance": "flow", "text": "oi"})
    eventually(
        lambda: world.http.get(f"/api/chat/conversations/{conversation}/").json()["unread_count"],
        10,
        "a word",
    )
    assert world.http.post(f"/api/chat/conversations/{conversation}/mark_as_read/").status_code == 200
    eventually(lambda: world.simulator.control("GET", "reads")["reads"], 10, "the read receipt")


# --- moving ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def web_on(world: World, transport: str) -> Iterator[None]:
    """The web server of a release that uses this transport, in place of the world's own."""
    with (
        servers.asgi_server({**world.env, "CHAT_SEND_TRANSPORT": transport}) as web,
        httpx.Client(base_url=web.url, timeout=30, headers=world.http.headers) as http,
    ):
        before, world.http = world.http, http
        try:
            yield
        finally:
            world.http = before


@pytest.mark.slow
def test_there_and_back(world: World) -> None:
    """Streams to lists and back with work in both: workers of both kinds for a while, then of one kind."""
    lanes = spread(world, 3)

    def write(count: int) -> None:
        for n in range(count):
            world.send(lanes[n % 3])

    write(6)  # on the stream, nobody reads it yet
    with web_on(world, "list"), client_of(world, 2) as lists, client_of(world, 3) as streams:
        write(6)
        assert streams.xlen("chat:stream:send_message") == 6 and lists.llen("chat:queue:send_message") == 6
        with list_worker(world, CHAT_SEND_TRANSPORT="list"):
            streaming = world.worker(CHAT_SEND_TRANSPORT="list")
            write(6)
            world.settle()
            eventually(lambda: streams.xlen("chat:stream:send_message") == 0, 10, "the stream to be drained")
            streaming.stop()
            write(3)
            world.settle()
        write(3)  # on the list, and back to streams
    with web_on(world, "stream"), client_of(world, 2) as lists:
        world.worker()
        write(3)
        with list_worker(world):
            world.settle()
            eventually(lambda: lists.llen("chat:queue:send_message") == 0, 10, "the list to be drained")
        write(3)
        world.settle()
    assert world.verdict() == CLEAN
    assert Delivery.objects.exclude(state=Delivery.State.SENT).count() == 0
