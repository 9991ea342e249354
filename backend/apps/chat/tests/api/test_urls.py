"""Every spelling under which Evolution may reach the webhook."""

from __future__ import annotations

import uuid

import pytest
from django.urls import resolve

from apps.chat import webhooks

pytestmark = pytest.mark.any_database


@pytest.mark.parametrize(
    ("tail", "event"),
    [
        ("", ""),
        ("/", ""),
        ("/messages-upsert", "messages-upsert"),
        ("/messages-upsert/", "messages-upsert"),
        ("//messages-upsert", "messages-upsert"),
        ("//connection-update/", "connection-update"),
    ],
)
def test_evolution_finds_the_webhook_however_it_joins_the_event(tail: str, event: str) -> None:
    instance = uuid.uuid4()
    found = resolve(f"/api/chat/webhooks/evolution/{instance}{tail}")
    assert found.func is webhooks.receive
    assert found.kwargs.get("event_name", "") == event
    assert found.kwargs["instance_id"] == instance
