"""Publishing: from anywhere, at no cost, and whole."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.conf import settings

from apps.chat.realtime import broadcast, log
from apps.chat.redis_clients import sync_client


def _logged(tenant: uuid.UUID) -> list[Any]:
    assert broadcast.flush(5)
    return [
        json.loads(text)
        for text in sync_client(settings.CHANNELS_REDIS_URL).lrange(log.keys(tenant)[1], 0, -1)
    ]


@pytest.fixture
def tenant(redis_url: str) -> uuid.UUID:
    return uuid.uuid4()


def test_an_event_is_logged_with_its_number(tenant: uuid.UUID) -> None:
    before = time.time() * 1000
    broadcast.publish(tenant, {"type": "typing", "é": '"\\\n\u2028😀'})
    broadcast.publish(str(tenant), {"type": "typing"})

    first, second = _logged(tenant)

    assert first["é"] == '"\\\n\u2028😀'
    assert first["seq"] >= before - 1000
    assert second["seq"] == first["seq"] + 1


def test_times_and_ids_are_written_as_everywhere(tenant: uuid.UUID) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-3)))
    broadcast.publish(tenant, {"type": "typing", "at": at, "id": tenant})

    event = _logged(tenant)[0]

    assert event["at"] == "2026-01-02T06:04:05.000006Z"
    assert event["id"] == str(tenant)
    assert at.astimezone(UTC)


def test_it_survives_a_script_flush(tenant: uuid.UUID) -> None:
    broadcast.publish(tenant, {"type": "typing"})
    assert len(_logged(tenant)) == 1
    sync_client(settings.CHANNELS_REDIS_URL).script_flush()

    broadcast.publish(tenant, {"type": "typing"})

    assert len(_logged(tenant)) == 2


def test_an_event_that_cannot_be_told_does_not_stop_the_others(tenant: uuid.UUID) -> None:
    circle: dict[str, Any] = {"type": "typing"}
    circle["self"] = circle
    broadcast.publish(tenant, circle)
    assert broadcast.flush(5)

    broadcast.publish(tenant, {"type": "typing", "n": 1})

    events = _logged(tenant)
    assert [event["type"] for event in events] == ["resync_required", "typing"]


def test_publishing_costs_next_to_nothing(tenant: uuid.UUID) -> None:
    began = time.perf_counter()
    for n in range(2000):
        broadcast.publish(tenant, {"type": "typing", "n": n})
    elapsed = time.perf_counter() - began

    assert elapsed < 1
    assert broadcast.flush(10)


def test_a_full_queue_drops_and_says_so_later(tenant: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "QUEUE_SIZE", 5)
    monkeypatch.setattr(broadcast.Publisher, "_start", lambda self: None)
    publisher = broadcast.Publisher()
    for n in range(8):
        publisher.put(str(tenant), {"type": "typing", "n": n})
    monkeypatch.undo()
    publisher._start()

    assert publisher.flush(5)

    deadline = time.monotonic() + 5
    while not (kinds := [event["type"] for event in _logged(tenant)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert kinds.count("resync_required") == 1
    assert kinds.count("typing") == 5
