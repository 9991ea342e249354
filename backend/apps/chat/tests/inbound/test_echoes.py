"""Echoes and acks of our own sends, through a lane that was really stepped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from apps.chat import contacts
from apps.chat.delivery import lane
from apps.chat.delivery.enqueue import enqueue_delivery
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.models import Ack, Attempt, Conversation, Delivery, Evidence, Instance, Message, Worker
from apps.tenancy.models import Tenant

from .conftest import Body, edit_body, message_body, state_of, status_body

Apply = Callable[..., str]
PHONE = "5511990000001@s.whatsapp.net"


@pytest.fixture
def conversation(tenant: Tenant, instance: Instance) -> Conversation:
    with transaction.atomic():
        contact = contacts.find_or_create(tenant.id, [PHONE])
        return contacts.conversation_with(instance, contact, PHONE, timezone.now())[0]


def sending(conversation: Conversation, text: str) -> Message:
    """A message whose POST is under way: its step was taken, no answer has come."""
    now = timezone.now()
    with transaction.atomic():
        message = Message.objects.create(
            tenant_id=conversation.tenant_id,
            conversation=conversation,
            instance_id=conversation.instance_id,
            direction="outgoing",
            origin="api",
            content=text,
            sort_at=now,
            created_at=now,
        )
        enqueue_delivery(message, fingerprint=fingerprint("text", text=text))
    worker = Worker.objects.create(name="test")
    steps = lane.step([conversation.id], worker.id)
    assert [step.message_id for step in steps if isinstance(step, lane.Step)] == [message.id]
    return message


def echo(key_id: str, text: str, **more: Any) -> Body:
    return message_body(key_id, text, at=int(time.time()), event="send.message", from_me=True, **more)


@pytest.mark.parametrize("jid", [PHONE, "5511990000001", "551190000001@s.whatsapp.net"])
def test_an_echo_proves_the_send(apply: Apply, conversation: Conversation, jid: str) -> None:
    message = sending(conversation, "oi")
    assert apply(echo("E1", "oi", jid=jid)) == "echo"
    message.refresh_from_db()
    assert message.provider_id == "E1"
    assert Delivery.objects.get().state == Delivery.State.SENT
    assert Attempt.objects.get().closed == Attempt.Closed.ACCEPTED
    assert Message.objects.count() == 1


def test_a_repeated_echo_changes_nothing(apply: Apply, conversation: Conversation, tenant: Tenant) -> None:
    sending(conversation, "oi")
    body = echo("E1", "oi")
    apply(body)
    before = state_of(tenant)
    assert apply(body) == "echo"
    assert state_of(tenant) == before


def test_other_words_prove_nothing(apply: Apply, conversation: Conversation) -> None:
    sending(conversation, "oi")
    assert apply(echo("E1", "tchau")) == "sent elsewhere"
    assert Delivery.objects.get().state == Delivery.State.SENDING
    assert Message.objects.filter(origin="other").count() == 1


def test_the_same_words_typed_on_the_phone_are_not_taken_for_ours(
    apply: Apply, conversation: Conversation
) -> None:
    sending(conversation, "oi")
    body = echo("E1", "oi") | {"event": "messages.upsert"}
    assert apply(body) == "sent elsewhere"
    assert Delivery.objects.get().state == Delivery.State.SENDING
    assert Message.objects.filter(origin="phone").count() == 1


def test_a_replayed_foreign_message_is_not_the_echo_of_a_later_send(
    apply: Apply, conversation: Conversation
) -> None:
    body = echo("F1", "oi")
    assert apply(body) == "sent elsewhere"
    sending(conversation, "oi")
    assert apply(body) == "known"
    assert Delivery.objects.get().state == Delivery.State.SENDING


def test_an_ack_before_the_echo_is_kept(apply: Apply, conversation: Conversation) -> None:
    message = sending(conversation, "oi")
    assert apply(status_body("E1", "DELIVERY_ACK")) == "ack parked"
    assert apply(echo("E1", "oi")) == "echo"
    message.refresh_from_db()
    assert message.ack == Ack.DELIVERED
    assert not Evidence.objects.exists()


def test_an_echo_of_one_of_two_is_parked(apply: Apply, conversation: Conversation) -> None:
    first = sending(conversation, "oi")
    attempt = Attempt.objects.get()
    Attempt.objects.create(
        delivery_id=attempt.delivery_id,
        conversation_id=first.conversation_id,
        instance_id=first.instance_id,
        n=attempt.n + 1,
        fence=attempt.fence,
        fingerprint=attempt.fingerprint,
    )
    assert apply(echo("E1", "oi")) == "echo parked"
    assert Evidence.objects.get().provider_id == "E1"
    assert Message.objects.count() == 1


def test_a_rejection_fails_the_message(apply: Apply, conversation: Conversation) -> None:
    message = sending(conversation, "oi")
    apply(echo("E1", "oi"))
    apply(status_body("E1", "ERROR"))
    message.refresh_from_db()
    assert message.ack_error
    assert Delivery.objects.get().state == Delivery.State.FAILED


def test_the_echo_of_our_own_edit_says_nothing_new(apply: Apply, conversation: Conversation) -> None:
    message = sending(conversation, "v2")
    apply(echo("E1", "v2"))
    body = edit_body("E1", "v1", int(time.time() * 1000)) | {"event": "send.message.update"}
    assert apply(body) == "own edit"
    message.refresh_from_db()
    assert (message.content, message.edited_at) == ("v2", None)


def test_browsers_are_told(apply: Apply, conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.chat.inbound import messages, statuses

    told: list[str] = []

    def publish(tenant_id: object, event: dict[str, Any]) -> None:
        told.append(event["type"] + ":" + event.get("status", ""))

    monkeypatch.setattr(messages, "publish", publish)
    monkeypatch.setattr(statuses, "publish", publish)
    sending(conversation, "oi")
    apply(echo("E1", "oi"))
    apply(status_body("E1", "READ"))
    apply(status_body("E1", "READ"))
    apply(message_body("A1"))
    apply(message_body("A1"))
    apply(message_body("A2", jid="5511990000002@s.whatsapp.net"))
    assert told == [
        "message_status_update:submitted",
        "message_status_update:seen",
        "conversation_updated:",
        "message_received:",
        "new_conversation:",
        "message_received:",
    ]
