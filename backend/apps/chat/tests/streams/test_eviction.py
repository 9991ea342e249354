"""RELIABILITY row 14: a worker says at its start that its Redis may throw away what waits in it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from testing import servers

from apps.chat import redis_clients
from apps.chat.redis_consumer import start_redis_consumers
from apps.chat.stream_consumer import process_mark_as_read_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_clients, "_said_to_evict", set())


async def _a_stream_worker() -> None:
    stop = asyncio.Event()
    stop.set()
    await process_mark_as_read_worker("one", stop=stop)


async def _a_list_worker() -> None:
    stop = asyncio.Event()
    stop.set()
    await start_redis_consumers(queues=["chat:queue:fetch_profile_pic"], stop=stop)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "may evict" in one.getMessage()]


@pytest.mark.parametrize(
    ("setting", "work"),
    [("CHAT_STREAM_REDIS_URL", _a_stream_worker), ("CHAT_QUEUE_REDIS_URL", _a_list_worker)],
)
def test_it_says_so_once(setting: str, work: Any, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    with servers.valkey(maxmemory_policy="volatile-lru") as server:
        with server.client() as client:
            client.config_set("requirepass", "hush-hush")
        setattr(settings, setting, f"redis://:hush-hush@127.0.0.1:{server.port}/3")
        asyncio.run(work())
        asyncio.run(work())

        (said,) = (one for one in caplog.records if "may evict" in one.getMessage())
        assert (said.policy, said.address) == ("volatile-lru", f"127.0.0.1:{server.port}")  # type: ignore[attr-defined]
        assert "hush" not in caplog.text


def test_a_redis_that_does_not_evict_or_is_away_is_no_news(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(_a_list_worker())
    settings.CHAT_QUEUE_REDIS_URL = "redis://127.0.0.1:1/2"
    asyncio.run(redis_clients.say_if_it_evicts(settings.CHAT_QUEUE_REDIS_URL))

    assert warnings(caplog) == []
