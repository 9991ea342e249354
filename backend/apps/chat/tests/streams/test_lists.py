"""The list transport: wake-ups of `chat:queue:send_message`, beside the streams and with the same engine."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from asgiref.sync import sync_to_async
from testing import servers

from apps.chat import journal, list_loops, redis_queue, stream_consumer, tasks
from apps.chat import redis_streams as streams
from apps.chat.delivery.engine import Engine
from apps.chat.models import Conversation, Delivery
from apps.chat.redis_clients import sync_client
from apps.chat.redis_consumer import SendListWorker, start_redis_consumers
from apps.chat.tests.factories import make_conversation, make_instance, queue
from apps.chat.tests.streams.conftest import Lanes, until

QUEUE = redis_queue.REDIS_QUEUE_SEND_MESSAGE


@pytest.fixture
def items(quick: Any, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    monkeypatch.setattr(list_loops, "WAIT_SECONDS", 0.1)
    return sync_client(quick.CHAT_QUEUE_REDIS_URL)


@pytest.fixture
async def worker(lanes: Lanes, items: redis.Redis) -> AsyncIterator[SendListWorker]:
    stop = asyncio.Event()
    made = SendListWorker(lanes)  # type: ignore[arg-type]
    task = asyncio.create_task(made.run(stop))
    yield made
    assert not task.done(), "the loop died"
    stop.set()
    await asyncio.wait_for(task, 10)


@pytest.mark.django_db(transaction=True)
async def test_an_item_wakes_its_lane(lanes: Lanes, worker: SendListWorker, items: redis.Redis) -> None:
    row = await sync_to_async(queue)()
    redis_queue.enqueue_message(QUEUE, {"message_id": str(row.message_id)})
    await until(lambda: lanes.worked == [row.conversation_id])
    assert items.llen(QUEUE) == 0


BAD = [
    *["", "{", "[]", "3", "null", "{}", "[" * 20_000],
    *['{"message_id": null}', '{"message_id": "x"}', '{"message_id": []}'],
]


@pytest.mark.django_db(transaction=True)
async def test_garbage_is_buried_and_what_follows_is_worked(
    lanes: Lanes, worker: SendListWorker, items: redis.Redis, raw: redis.Redis, quick: Any
) -> None:
    row = await sync_to_async(queue)()
    for text in BAD:
        items.lpush(QUEUE, text)
    items.lpush(QUEUE, json.dumps({"message_id": str(uuid4())}))
    items.lpush(QUEUE, json.dumps({"message_id": str(row.message_id), "version": 9}))
    await until(lambda: lanes.worked == [row.conversation_id])
    letters = [fields for _, fields in raw.xrange(quick.CHAT_STREAM_DLQ_NAME)]
    assert len(letters) == len(BAD)
    assert {letter["source"] for letter in letters} == {QUEUE}


@pytest.mark.django_db(transaction=True)
async def test_an_item_leaves_the_hand_when_its_lane_has_nothing_more(
    lanes: Lanes, worker: SendListWorker, items: redis.Redis
) -> None:
    row = await sync_to_async(queue)()
    lanes.go_on.clear()
    redis_queue.enqueue_message(QUEUE, {"message_id": str(row.message_id)})
    hand = redis_queue.hand_key(QUEUE, worker.hands.consumer)
    await until(lambda: items.llen(hand) == 1)
    lanes.go_on.set()
    await until(lambda: items.llen(hand) == 0)


def wake(lane_id: UUID) -> None:
    """What `enqueue_wake_up` writes, also while the process remembers an outage."""
    redis_queue.enqueue_message(QUEUE, {"conversation_id": str(lane_id), "instance_id": str(uuid4())})


async def test_an_item_that_names_its_lane_needs_no_look_up(
    lanes: Lanes, worker: SendListWorker, items: redis.Redis
) -> None:
    lane_id = uuid4()
    wake(lane_id)
    await until(lambda: lanes.worked == [lane_id])


async def test_redis_away_is_a_pause(
    lanes: Lanes, worker: SendListWorker, items: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        async def blmove(self, *_: Any, **__: Any) -> Any:
            failed.set()
            raise redis.exceptions.ConnectionError("away")

    failed = asyncio.Event()
    client = worker._client
    monkeypatch.setattr("apps.chat.list_loops.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_client", Away())
    await asyncio.wait_for(failed.wait(), 5)
    monkeypatch.setattr(worker, "_client", client)
    lane_id = uuid4()
    wake(lane_id)
    await until(lambda: lanes.worked == [lane_id])


async def test_a_take_whose_answer_was_lost_is_found_in_the_hand(
    lanes: Lanes, worker: SendListWorker, items: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf:
        """Does what it is told and never hears the answer."""

        async def blmove(self, *arguments: Any, **options: Any) -> Any:
            taken = await client.blmove(*arguments, **options)
            if taken is None:
                return None
            raise redis.exceptions.TimeoutError("the answer is lost")

    client = worker._client
    monkeypatch.setattr("apps.chat.list_loops.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_client", Deaf())
    wanted = [uuid4() for _ in range(5)]
    for lane_id in wanted:
        wake(lane_id)
    await until(lambda: lanes.worked == wanted)
    monkeypatch.setattr(worker, "_client", client)
    await until(lambda: items.llen(redis_queue.hand_key(QUEUE, worker.hands.consumer)) == 0)


async def test_after_a_flush_the_loop_goes_on(
    lanes: Lanes, worker: SendListWorker, items: redis.Redis
) -> None:
    for _ in range(3):
        items.flushall()
        lane_id = uuid4()
        wake(lane_id)
        await until(lambda: lane_id in lanes.worked)  # noqa: B023


async def test_a_stop_is_heard_while_the_database_is_away(
    lanes: Lanes, items: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up of an item's lane is tried again for as long as it takes, but not longer than the worker."""

    class Away:
        async def call(self, _: Any) -> Any:
            asked.set()
            raise OSError("away")

    asked, stop = asyncio.Event(), asyncio.Event()
    lanes.database = Away()  # type: ignore[assignment]
    redis_queue.enqueue_message(QUEUE, {"message_id": str(uuid4())})
    task = asyncio.create_task(SendListWorker(lanes).run(stop))  # type: ignore[arg-type]
    await asyncio.wait_for(asked.wait(), 5)
    stop.set()
    await asyncio.wait_for(task, 5)


# --- everything together --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulator() -> Iterator[servers.Simulator]:
    with servers.simulator() as server:
        yield server


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """An engine applies the journal on a thread, which must not outlive the test's database."""
    yield
    journal.stop(10)


def rows(server: servers.Simulator) -> tuple[list[Conversation], list[Delivery]]:
    instance = make_instance(name="lab", base_url=server.url, api_key=server.api_key)
    lanes = [make_conversation(instance) for _ in range(6)]
    return lanes, [queue(conversation) for _ in range(5) for conversation in lanes]


async def all_sent() -> bool:
    return not await Delivery.objects.exclude(state=Delivery.State.SENT).aexists()


async def lists(engine: Engine, stop: asyncio.Event) -> None:
    await start_redis_consumers(engine=engine, stop=stop)


@pytest.mark.django_db(transaction=True)
async def test_lists_and_streams_hold_work_and_nothing_is_sent_twice(
    simulator: servers.Simulator, quick: Any, items: redis.Redis, raw: redis.Redis, no_threads_left: None
) -> None:
    """Each message is announced on the stream, on the list, or on both; some more than once."""
    simulator.control("POST", "reset", {"instances": True})
    simulator.call("POST", "/instance/create", {"instanceName": "lab", "integration": "WHATSAPP-BAILEYS"})
    simulator.control("POST", "instances/lab/state", {"state": "open", "number": "5511900000000"})
    lanes, deliveries = await sync_to_async(rows)(simulator)
    quick.CHAT_SEND_TRANSPORT = "list"
    for n, row in enumerate(deliveries):
        if n % 3 != 1:
            await sync_to_async(tasks.send_message_to_evolution.delay)(row.message_id)
        if n % 3 != 0:
            await sync_to_async(streams.enqueue_send_message)(row.message_id)
    assert items.llen(QUEUE) > 0 and raw.xlen(quick.CHAT_STREAM_SEND_NAME) > 0
    stop = asyncio.Event()
    running = asyncio.create_task(stream_consumer.start_stream_workers(2, 1, beside=lists, stop=stop))
    try:
        await until(all_sent, within=20)
        await until(lambda: raw.xlen(quick.CHAT_STREAM_SEND_NAME) == 0 and items.llen(QUEUE) == 0)
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)
    taken = simulator.accepted()
    assert Counter(one["text"] for one in taken) == Counter(row.message.content for row in deliveries)
    for conversation in lanes:
        wanted = [row.message.content for row in deliveries if row.conversation_id == conversation.pk]
        number = conversation.remote_jid.partition("@")[0]
        assert [one["text"] for one in taken if one["number"] == number] == wanted
