"""The worker as a process: ready, killed with a file half stored, told to stop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from testing.servers import manage

from apps.chat.media import claims
from apps.chat.models import Conversation, MessageAttachment
from apps.chat.tests.media.workers import ProcessWorker, all_ended, statuses
from apps.chat.tests.media.world import Evolution, jpeg, make_attachment, make_message

pytestmark = pytest.mark.slow


@pytest.fixture
def env(child_env: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    return {**child_env, "MEDIA_ROOT": str(tmp_path / "storage"), "CHAT_MEDIA_SWEEP_SECONDS": "0.1"}


def waiting(conversation: Conversation, evolution: Evolution, size: int = 0) -> MessageAttachment:
    row = make_attachment(make_message(conversation))
    assert row.message is not None
    evolution.files[str(row.message.provider_id)] = jpeg() + os.urandom(size)
    return row


def lease_over() -> None:
    held = MessageAttachment.objects.filter(status="processing")
    assert held.update(wake_at=Now() - timedelta(seconds=1)) == 1


@pytest.mark.parametrize("step", ["media_half", "media_fetched", "media_stored"])
def test_a_worker_killed_with_a_file_in_hand_loses_and_doubles_nothing(
    conversation: Conversation, evolution: Evolution, env: Mapping[str, str], tmp_path: Path, step: str
) -> None:
    row = waiting(conversation, evolution, size=2_000_000)
    with ProcessWorker(tmp_path, {**env, "CHAT_FAIL_AT": f"{step}:exit"}) as dying:
        assert dying.wait(30) == 70
    row.refresh_from_db()
    assert (row.status, row.file) == ("processing", "")
    lease_over()
    with ProcessWorker(tmp_path, env) as worker:
        all_ended()
        worker.terminate()
        assert worker.wait(20) == 0
    assert statuses() == {"completed": 1}
    row.refresh_from_db()
    kept = [
        path for path in (tmp_path / "storage").rglob("*") if path.is_file() and ".partial" not in path.parts
    ]
    assert sorted(path.name for path in kept) == sorted([row.sha256, row.thumbnail.rpartition("/")[2]])


def test_told_to_stop_it_finishes_what_it_has_and_leaves_the_rest(
    conversation: Conversation, evolution: Evolution, env: Mapping[str, str], tmp_path: Path
) -> None:
    rows = [waiting(conversation, evolution) for _ in range(3)]
    slow = ProcessWorker(tmp_path, {**env, "CHAT_DRAIN_SECONDS": "10"}, concurrency=1)

    def stop_at_the_first() -> None:
        if slow.running:
            slow.terminate()

    evolution.before = stop_at_the_first
    with slow:
        assert slow.wait(30) == 0
    found = statuses()
    assert found["completed"] >= 1 and "processing" not in found
    assert [pk for pk, _ in claims.due(10)] == [
        row.pk for row in rows if MessageAttachment.objects.get(pk=row.pk).status == "pending"
    ]


def test_a_wrong_broker_address_is_said_at_start(child_env: Mapping[str, str]) -> None:
    with pytest.raises(Exception, match="RABBITMQ_URL must look like amqp") as raised:
        manage("check", env={**child_env, "RABBITMQ_URL": "http://user:hidden@host"})
    assert "hidden" not in str(raised.value)
