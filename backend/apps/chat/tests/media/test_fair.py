"""A number whose Evolution hangs leaves room for others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from testing.waiting import eventually

from apps.chat.models import Conversation, MessageAttachment
from apps.chat.tests.media.workers import all_ended, thread_worker
from apps.chat.tests.media.world import Evolution, jpeg, make_attachment, make_conversation, make_message


@pytest.fixture
def hanging() -> Iterator[Evolution]:
    made, released = Evolution(), threading.Event()
    made.before = lambda: released.wait(30) and None
    made.release = released.set  # type: ignore[attr-defined]
    yield made
    released.set()
    made.close()


def waiting(conversation: Conversation, evolution: Evolution) -> MessageAttachment:
    row = make_attachment(make_message(conversation))
    assert row.message is not None
    evolution.files[str(row.message.provider_id)] = jpeg()
    return row


def test_a_number_that_hangs_leaves_room_for_others(
    conversation: Conversation, evolution: Evolution, hanging: Evolution
) -> None:
    stuck = make_conversation(hanging.url)
    for _ in range(10):
        waiting(stuck, hanging)
    with thread_worker(3):
        eventually(lambda: len(hanging.asked) == 2, 10, "the hanging number to hold all it may")
        rows = [waiting(conversation, evolution) for _ in range(5)]
        done = MessageAttachment.objects.filter(pk__in=[row.pk for row in rows], status="completed")
        eventually(lambda: done.count() == 5, 10, "the others' files")
        assert len(hanging.asked) == 2
        hanging.release()  # type: ignore[attr-defined]
        all_ended()
    assert MessageAttachment.objects.filter(status="completed").count() == 15
