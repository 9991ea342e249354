"""Wake-ups of lanes that this process looks at already: written soon, together, and rung when Redis is away."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from apps.chat.delivery import lane
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.wake import WakeUps
from apps.chat.models import Delivery
from apps.chat.redis_clients import close_async_clients
from apps.chat.redis_streams import WakeUp, get_stream_redis_client, outage
from apps.chat.tests.factories import queue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def database() -> Any:
    thread = DatabaseThread(lambda: 7)
    yield thread
    thread.stop()
    await close_async_clients()


def test_without_an_engine_nobody_takes_a_nudge() -> None:
    assert Engine.nudge(WakeUp(uuid4(), uuid4(), uuid4())) is False


async def test_they_are_written_together_and_soon(
    database: DatabaseThread, redis_url: str, settings: Any
) -> None:
    stream_redis = get_stream_redis_client()
    wake_ups = WakeUps(database)
    for _ in range(3):
        wake_ups.put(WakeUp(uuid4(), uuid4(), uuid4()))
    assert stream_redis.xlen(settings.CHAT_STREAM_SEND_NAME) == 0
    await wake_ups.stop()
    assert stream_redis.xlen(settings.CHAT_STREAM_SEND_NAME) == 3


async def test_with_redis_away_the_lanes_alarms_are_rung(database: DatabaseThread, settings: Any) -> None:
    head: Delivery = await sync_to_async(queue)()
    settings.CHAT_STREAM_REDIS_URL = "redis://127.0.0.1:1/3"
    wake_ups = WakeUps(database)
    wake_ups.put(WakeUp(head.message_id, head.conversation_id, head.instance_id))
    await wake_ups.stop()
    outage._since = None
    due = await database.call(lambda: lane.sweep(10))
    assert [row.conversation_id for row in due] == [head.conversation_id]
