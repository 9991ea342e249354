"""The media queue on a real RabbitMQ, and what breaks around it (RELIABILITY 34)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import aio_pika
import pytest
from testing.rabbitmq import RabbitServer
from testing.waiting import eventually

from apps.chat import media_consumer, media_queue, media_tasks
from apps.chat.errors import InvalidMessage, NotFound, QueueAway
from apps.chat.models import Conversation, MessageAttachment
from apps.chat.tests.media.workers import all_ended, statuses, thread_worker
from apps.chat.tests.media.world import Evolution, jpeg, make_attachment, make_message

Told = list[dict[str, Any]]


@pytest.fixture
def broker(rabbitmq_server: RabbitServer, settings: Any) -> Iterator[RabbitServer]:
    """A running broker whose queues are empty."""
    settings.RABBITMQ_URL = rabbitmq_server.url
    if not rabbitmq_server.running:
        rabbitmq_server.start(60)
    on_channel(rabbitmq_server, delete_all)
    yield rabbitmq_server
    media_queue.stop(5)


@pytest.fixture
def only_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep gives the queue all the time in the world."""
    monkeypatch.setattr(media_consumer, "HEAD_START_SECONDS", 3600.0)


def on_channel(server: RabbitServer, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Do something on a channel of our own."""

    async def run() -> Any:
        connection = await aio_pika.connect(server.url)
        async with connection:
            return await work(await connection.channel())

    return asyncio.run(run())


async def delete_all(channel: Any) -> None:
    for name in (media_queue.QUEUE, media_queue.DEAD, *(media_queue.later_queue(s) for s in (1, 5, 30, 100))):
        await channel.queue_delete(name)


async def next_message(channel: Any) -> Any:
    queue = await channel.get_queue(media_queue.QUEUE, ensure=False)
    return await queue.get(timeout=5, fail=False)


def waiting(conversation: Conversation, evolution: Evolution) -> MessageAttachment:
    row = make_attachment(make_message(conversation))
    assert row.message is not None
    evolution.files[str(row.message.provider_id)] = jpeg()
    return row


def announce(row: MessageAttachment) -> None:
    assert row.message is not None
    media_tasks.process_incoming_media.delay(
        str(row.tenant_id),
        str(row.message_id),
        None,
        "image",
        instance_name=row.message.instance.name,
        api_key="a-credential",
        evolution_api_url=row.message.instance.base_url + "/",
        message_key={"id": row.message.provider_id},
        mime_type="image/jpeg",
    )


def completed_events(told: Told) -> list[str]:
    return [event["attachment"]["id"] for event in told if event["attachment"]["status"] == "completed"]


def test_what_is_queued_are_ids_persistent_and_confirmed(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution
) -> None:
    row = waiting(conversation, evolution)
    announce(row)
    eventually(lambda: media_queue.get_media_queue_metrics()["length"] == 1, 10)
    message = on_channel(broker, next_message)
    assert json.loads(message.body) == {
        "v": 1,
        "attachment_id": str(row.pk),
        "message_id": str(row.message_id),
    }
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert "a-credential" not in repr(message.info())


def test_the_queue_brings_files(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, told: Told, only_the_queue: None
) -> None:
    with thread_worker() as worker:
        eventually(lambda: worker.reading, 10)
        rows = [waiting(conversation, evolution) for _ in range(8)]
        for row in rows:
            announce(row)
            announce(row)
        all_ended()
        assert media_queue.get_media_queue_metrics()["consumers"] == 1
    assert statuses() == {"completed": 8}
    assert sorted(completed_events(told)) == sorted(str(row.pk) for row in rows)
    assert len(evolution.asked) == 8
    assert media_queue.get_media_queue_metrics() == {"length": 0, "consumers": 0, "dead": 0}


def test_a_file_that_must_wait_comes_back_through_the_queue(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, only_the_queue: None
) -> None:
    row = make_attachment(make_message(conversation))
    assert row.message is not None
    with thread_worker() as worker:
        eventually(lambda: worker.reading, 10)
        announce(row)
        eventually(lambda: len(evolution.asked) == 1, 10)
        evolution.files[str(row.message.provider_id)] = jpeg()
        all_ended(15)
    assert statuses() == {"completed": 1}


def test_garbage_goes_to_the_dead_letters_and_the_loop_lives(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, only_the_queue: None
) -> None:
    async def publish(channel: Any) -> None:
        for body in (b"", b"\xff", b"[]", b'{"attachment_id":5}', b"{" * 100_000, b"x" * 1_000_000):
            await channel.default_exchange.publish(aio_pika.Message(body), media_queue.QUEUE)

    with thread_worker() as worker:
        eventually(lambda: worker.reading, 10)
        on_channel(broker, publish)
        eventually(lambda: media_queue.get_media_queue_metrics()["dead"] == 6, 10, "six dead letters")
        announce(waiting(conversation, evolution))
        all_ended()
    assert statuses() == {"completed": 1}


def test_a_queue_that_a_former_system_made_is_used_as_it_is(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, only_the_queue: None
) -> None:
    async def classic(channel: Any) -> None:
        await channel.declare_queue(media_queue.QUEUE, durable=True)

    on_channel(broker, classic)
    with thread_worker() as worker:
        eventually(lambda: worker.reading, 10)
        announce(waiting(conversation, evolution))
        all_ended()
    assert statuses() == {"completed": 1}


def test_a_deleted_queue_is_made_again_with_our_consumer(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, only_the_queue: None
) -> None:
    with thread_worker() as worker:
        eventually(lambda: worker.reading, 10)
        on_channel(broker, delete_all)
        eventually(lambda: consumers() == 1, 30, "the consumer to be back")
        announce(waiting(conversation, evolution))
        all_ended()
    assert statuses() == {"completed": 1}


def consumers() -> int:
    try:
        return media_queue.get_media_queue_metrics()["consumers"]
    except QueueAway:
        return 0


def test_a_consumer_cancelled_behind_our_back_is_replaced(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, only_the_queue: None
) -> None:
    with thread_worker() as worker:
        eventually(lambda: worker.reading, 10)
        assert worker.worker is not None and worker.worker._consumer is not None
        consumer = worker.worker._consumer
        tag, link = consumer._tag, consumer._link
        assert link is not None
        worker.call(link.queue.cancel(tag))
        eventually(lambda: consumers() == 1 and consumer._tag != tag, 30, "a new consumer")
        announce(waiting(conversation, evolution))
        all_ended()
    assert statuses() == {"completed": 1}


def test_a_message_whose_wake_up_was_lost_is_found_by_the_sweep(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_consumer, "HEAD_START_SECONDS", 0.5)
    row = waiting(conversation, evolution)
    with thread_worker():
        all_ended(15)
    row.refresh_from_db()
    assert row.status == "completed"


@pytest.mark.slow
def test_the_broker_killed_in_mid_run_loses_and_doubles_nothing(
    broker: RabbitServer, conversation: Conversation, evolution: Evolution, told: Told, caplog: Any
) -> None:
    caplog.set_level(logging.WARNING)
    rows = [waiting(conversation, evolution) for _ in range(20)]
    for row in rows[:10]:
        announce(row)
    with thread_worker(2) as worker:
        eventually(lambda: worker.reading, 10)
        broker.kill()
        for row in rows[10:]:
            announce(row)  # nobody hears it; nobody waits for it either
        all_ended()  # from the database, without the broker
        broker.start(60)
        eventually(lambda: worker.reading, 30, "the consumer to be back")
        late = waiting(conversation, evolution)
        announce(late)
        all_ended()
    assert statuses() == {"completed": 21}
    assert sorted(completed_events(told)) == sorted(str(row.pk) for row in [*rows, late])
    said = [record for record in caplog.records if record.getMessage().startswith("RabbitMQ (media) is")]
    assert [record.getMessage() for record in said] == [
        "RabbitMQ (media) is away",
        "RabbitMQ (media) is back",
    ]
    assert all(getattr(record, "address", "") == f"127.0.0.1:{broker.port}" for record in said)


def test_a_caller_cannot_send_us_elsewhere(conversation: Conversation, evolution: Evolution) -> None:
    row = waiting(conversation, evolution)
    assert row.message is not None
    given = [str(row.tenant_id), str(row.message_id), None, "image"]
    for wrong in (
        {"evolution_api_url": "http://169.254.169.254"},
        {"instance_name": "other"},
        {"message_key": {"id": "X"}},
    ):
        with pytest.raises(InvalidMessage):
            media_tasks.process_incoming_media.delay(*given, **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        media_tasks.process_incoming_media.delay(str(row.message_id), *given[1:])  # type: ignore[arg-type]


def test_the_handler_fetches_what_is_due(conversation: Conversation, evolution: Evolution) -> None:
    row = waiting(conversation, evolution)
    asyncio.run(
        media_tasks.handle_process_incoming_media(str(row.tenant_id), str(row.message_id), None, "image")
    )
    assert statuses() == {"completed": 1}
