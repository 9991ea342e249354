"""Reactions: put, replaced, taken back, in any order, before or after their message."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from apps.chat.delivery.enqueue import enqueue_delivery
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.models import Attempt, Conversation, Delivery, Evidence, Instance, Message, MessageReaction
from apps.tenancy.models import Tenant

from .conftest import NOON, capture, message_body, reaction_body

Apply = Callable[..., str]
HEART, THUMB = "\u2764\ufe0f", "\U0001f44d"
ANA = "551190000001@s.whatsapp.net"  # the key, without the ninth digit
GROUP = "120363000000000001@g.us"


def reactions() -> list[tuple[str, str]]:
    return list(MessageReaction.objects.order_by("author").values_list("author", "emoji"))


def test_a_reaction_is_put_on_its_message_and_is_none_itself(apply: Apply, instance: Instance) -> None:
    apply(message_body("3EB0AAAA"))
    before = Conversation.objects.values().get()
    assert apply(capture("wain_reaction__1_messages_upsert")) == "reaction"
    row = MessageReaction.objects.get()
    assert (row.message.provider_id, row.author, row.emoji) == (
        "3EB0AAAA", ANA, THUMB,
    )  # fmt: skip
    assert row.tenant_id == instance.tenant_id
    assert row.reacted_at == datetime(2026, 11, 21, 19, 56, 40, 123000, UTC)
    assert Message.objects.count() == 1
    assert Conversation.objects.values().get() == before


def test_any_order_of_reactions_ends_with_the_latest(apply: Apply) -> None:
    told = [
        message_body("A1"),
        reaction_body(THUMB, NOON * 1000 + 1),
        reaction_body(HEART, NOON * 1000 + 2),
        reaction_body("", NOON * 1000 + 3),
        reaction_body(HEART, NOON * 1000 + 2, from_me=True),
    ]
    for order in itertools.permutations(told):
        for body in order:
            apply(body)
        assert reactions() == [("", HEART), (ANA, "")]
        assert not Evidence.objects.exists()
        Message.objects.all().delete()


def test_a_reaction_taken_back_does_not_return(apply: Apply) -> None:
    apply(message_body("A1"))
    apply(reaction_body("", NOON * 1000 + 3))
    assert apply(reaction_body(THUMB, NOON * 1000 + 1)) == "known reaction"
    assert reactions() == [(ANA, "")]


def test_the_lid_and_the_phone_of_a_direct_chat_are_one_person(apply: Apply) -> None:
    apply(message_body("A1"))
    apply(reaction_body(THUMB, NOON * 1000 + 1, jid="111111111111111@lid"))
    apply(reaction_body(HEART, NOON * 1000 + 2))
    assert [emoji for _, emoji in reactions()] == [HEART]


def test_everybody_in_a_group_has_a_reaction_of_their_own(apply: Apply) -> None:
    apply(message_body("A1", jid=GROUP, participant="5511990000001@s.whatsapp.net"))
    for number in (1, 2):
        who = f"551199000000{number}@s.whatsapp.net"
        apply(reaction_body(THUMB, NOON * 1000 + number, jid=GROUP, participant=who))
    assert len(reactions()) == 2


def test_a_reaction_on_our_own_phone_is_ours(apply: Apply) -> None:
    apply(message_body("A1"))
    assert apply(reaction_body(THUMB, from_me=True)) == "reaction"
    assert reactions() == [("", THUMB)]


def test_the_echo_of_our_reaction_proves_its_send(apply: Apply, instance: Instance, tenant: Tenant) -> None:
    apply(message_body("A1"))
    message = Message.objects.get()
    said = fingerprint("reaction", emoji=THUMB, target_id="A1")
    payload = {"emoji": THUMB, "target_id": "A1"}
    with transaction.atomic():
        delivery = enqueue_delivery(message, fingerprint=said, kind=Delivery.Kind.REACTION, payload=payload)
    now = datetime.now(UTC)
    Attempt.objects.create(
        delivery=delivery, conversation_id=message.conversation_id, instance=instance, n=1, fence=1,
        fingerprint=said, step_at=now,
    )  # fmt: skip
    Delivery.objects.filter(pk=delivery.pk).update(state=Delivery.State.VERIFYING, fence=1, attempts=1)
    at = int(now.timestamp() * 1000)
    body = reaction_body(THUMB, at, from_me=True, key_id="3EB0R", event="send.message")
    assert apply(body, now) == "echo"
    assert Attempt.objects.get().provider_id == "3EB0R"
    assert Delivery.objects.get().state == Delivery.State.SENT
    assert Message.objects.get().provider_id == "A1"


@pytest.mark.parametrize("target", ["", "x" * 200])
def test_a_reaction_to_nothing_is_ignored(apply: Apply, target: str) -> None:
    assert apply(reaction_body(THUMB, target=target)).startswith("ignored")


def test_the_browsers_are_told(apply: Apply, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("apps.chat.delivery.reactions.publish", lambda tenant, event: told.append(event))
    apply(message_body("A1"))
    apply(reaction_body(THUMB, NOON * 1000))
    apply(reaction_body(THUMB, NOON * 1000))
    message = Message.objects.get()
    (event,) = told
    assert event["type"] == "message_reaction_update"
    assert event["message_id"] == str(message.pk)
    assert [(row["emoji"], row["from_me"]) for row in event["reactions"]] == [(THUMB, False)]
