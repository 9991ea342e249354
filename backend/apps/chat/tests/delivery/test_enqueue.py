"""Accepting a text: message, delivery and the conversation's list entry at once, numbered and timed under one lock."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.chat.actions import outgoing
from apps.chat.delivery.enqueue import enqueue_message
from apps.chat.models import Conversation, Delivery, Message
from apps.chat.tests.delivery.threads import at_once
from apps.chat.tests.factories import make_conversation

pytestmark = pytest.mark.django_db(transaction=True)


def unsaved(conversation: Conversation, text: str = "oi", name: str | None = None) -> Message:
    """A message from long ago, so that only a time set on storing can be right."""
    return outgoing(None, conversation, text, name, "", None, timezone.now() - timedelta(days=1))


def accept(conversation: Conversation, text: str = "oi", name: str | None = None) -> Delivery:
    entry = {"status": Conversation.Status.OPEN, "last_message_preview": text}
    return enqueue_message(unsaved(conversation, text, name), fingerprint="f" * 32, **entry)


@pytest.fixture(params=["alone", "in a transaction"])
def around(request: pytest.FixtureRequest) -> Any:
    """Both ways: PostgreSQL takes one statement unless a transaction is open."""
    return transaction.atomic if request.param == "in a transaction" else contextlib.nullcontext


def test_what_is_returned_is_what_is_stored(around: Any) -> None:
    conversation = make_conversation()
    with around():
        first, second = accept(conversation, "um"), accept(conversation, "dois", name="a name")

    for delivery, text in ((first, "um"), (second, "dois")):
        stored = Delivery.objects.select_related("message").get(pk=delivery.pk)
        assert (stored.seq, stored.message_id) == (delivery.seq, delivery.message.pk)
        assert (stored.state, stored.kind, stored.fence) == (Delivery.State.QUEUED, Delivery.Kind.TEXT, 0)
        assert (stored.message.content, stored.message.sort_at) == (text, delivery.message.sort_at)
        assert stored.message.created_at == stored.message.sort_at
        assert stored.sweep_at > stored.wake_at
        assert abs(timezone.now() - stored.message.sort_at) < timedelta(seconds=30)
    assert (first.seq, second.seq) == (1, 2)
    conversation.refresh_from_db()
    assert (conversation.next_seq, conversation.last_message_preview) == (2, "dois")


def test_a_name_in_use_leaves_nothing_behind(around: Any) -> None:
    conversation = make_conversation()
    accept(conversation, "um", name="the same")

    with pytest.raises(IntegrityError), around():
        accept(conversation, "dois", name="the same")

    conversation.refresh_from_db()
    assert (conversation.next_seq, conversation.last_message_preview) == (1, "um")
    assert (Message.objects.count(), Delivery.objects.count()) == (1, 1)


def test_a_conversation_that_is_gone_takes_nothing(around: Any) -> None:
    conversation = make_conversation()
    message = unsaved(conversation)
    conversation.delete()

    with pytest.raises(Conversation.DoesNotExist), around():
        enqueue_message(message, fingerprint="f" * 32)
    assert not Message.objects.exists()


def test_the_time_is_taken_under_the_lock() -> None:
    """Who waited for the conversation is later than who held it, or the thread would show them the wrong way round."""
    conversation = make_conversation()
    locked, written = threading.Event(), []

    def hold() -> None:
        with transaction.atomic():
            Conversation.objects.filter(pk=conversation.pk).update(last_message_preview="held")
            locked.set()
            time.sleep(0.5)
            written.append(accept(conversation, "first"))

    def wait() -> None:
        locked.wait(10)
        written.append(accept(conversation, "second"))

    at_once([hold, wait])

    first, second = written
    assert [first.message.content, second.message.content] == ["first", "second"]
    assert (first.seq, second.seq) == (1, 2)
    assert first.message.sort_at < second.message.sort_at


def test_many_at_once_stand_in_one_order() -> None:
    conversation = make_conversation()

    def write() -> None:
        for _ in range(5):
            accept(conversation)

    at_once([write] * 4, within=60)

    stored = Delivery.objects.filter(conversation=conversation).order_by("seq").select_related("message")
    assert [one.seq for one in stored] == list(range(1, 21))
    times = [one.message.sort_at for one in stored]
    assert times == sorted(times)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no trips to save")
def test_on_postgresql_it_is_one_statement_and_no_transaction() -> None:
    conversation = make_conversation()
    with CaptureQueriesContext(connection) as django:
        accept(conversation)
    assert len(django) == 0, [one["sql"] for one in django]
