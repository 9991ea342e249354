"""Webhooks beside messages: calls, groups, names, history, typing, QR codes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from apps.chat import journal
from apps.chat.inbound import passing
from apps.chat.models import Contact, Conversation, Instance, Message, WebhookEvent
from apps.tenancy.models import Tenant

from .conftest import (
    NOON,
    Body,
    call_body,
    capture,
    history_body,
    journalled,
    message_body,
    name_body,
    state_of,
)
from .test_webhook_http import send

Apply = Callable[..., str]
GROUP = "120363000000000001@g.us"
PHONE = "5511990000001@s.whatsapp.net"
over_http = pytest.mark.urls("apps.chat.tests.inbound.urls")


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moments", "outcome", "unread"),
    [
        (("offer", "ringing"), "ringing", 0),
        (("offer", "timeout"), "missed", 1),
        (("offer", "terminate"), "missed", 1),
        (("offer", "accept", "terminate"), "answered", 0),
        (("offer", "reject", "terminate"), "declined", 0),
    ],
)
def test_a_call_is_one_note_whatever_moment_comes_first(
    apply: Apply, moments: tuple[str, ...], outcome: str, unread: int
) -> None:
    for order in itertools.permutations(enumerate(moments)):
        for second, moment in order:
            apply(call_body(moment, NOON + second))
        message, conversation = Message.objects.get(), Conversation.objects.get()
        assert (message.kind, message.details["call"]["outcome"]) == ("call", outcome)
        assert message.sort_at == conversation.last_message_at == datetime.fromtimestamp(NOON, UTC)
        assert conversation.unread_count == unread
        Conversation.objects.all().delete()


def test_a_missed_call_brings_a_closed_conversation_back(apply: Apply) -> None:
    apply(message_body("A1"))
    Conversation.objects.update(status="closed", unread_count=0)
    apply(call_body("timeout", NOON + 1))
    conversation = Conversation.objects.get()
    assert (conversation.status, conversation.unread_count) == ("pending", 1)
    assert conversation.last_message_preview == "[call]"


@pytest.mark.parametrize("fields", [{"status": "dancing"}, {"chatId": "status@broadcast"}, {"id": None}])
def test_a_call_that_makes_no_sense_is_ignored(apply: Apply, fields: Body) -> None:
    assert apply(call_body(**{"status": "offer", **fields})).startswith("ignored")
    assert not Message.objects.exists()


# --- groups ---------------------------------------------------------------------------------------


def test_people_who_come_and_go_are_noted_in_the_group(apply: Apply, tenant: Tenant) -> None:
    apply(message_body("G1", jid=GROUP, participant=PHONE))
    before = Conversation.objects.values("unread_count", "last_message_preview", "last_message_at").get()
    assert apply(capture("wain_group_add_stub__0_group-participants_update")) == "note"
    note = Message.objects.get(kind="note")
    assert note.details == {
        "note": {
            "action": "add",
            "people": [{"name": "", "phone": "5511990000002"}],
            "by": {"name": "", "phone": "5511990000001"},
        }
    }
    assert (
        Conversation.objects.values("unread_count", "last_message_preview", "last_message_at").get() == before
    )
    state = state_of(tenant)
    assert apply(capture("wain_group_add_stub__0_group-participants_update")) == "known note"
    assert state_of(tenant) == state


def test_a_group_we_do_not_talk_in_gets_no_note_and_people_are_learned(apply: Apply) -> None:
    assert apply(capture("wa_group_participants_strings__0_group-participants_update")) == "participants"
    (contact,) = Contact.objects.all()
    assert contact.name == "Ana Test"
    assert {row.key for row in contact.jids.all()} == {
        "111111111111111@lid", "551190000001@s.whatsapp.net",
    }  # fmt: skip


def test_a_group_has_its_subject_and_no_speakers_name(apply: Apply) -> None:
    apply(message_body("G1", jid=GROUP, participant=PHONE, push_name="Ana"))
    apply(capture("wa_groups_upsert__0_groups_upsert"))
    apply(name_body("Ana", GROUP))
    assert Contact.objects.get(kind="group").name == "Lab Group"


# --- names ----------------------------------------------------------------------------------------


def test_the_latest_name_stays_in_any_order(apply: Apply, instance: Instance) -> None:
    told = [(name_body("Ana"), 5), (name_body("Ana Maria"), 60), (message_body("A1", push_name="A."), 2)]
    for order in itertools.permutations(told):
        for body, second in order:
            apply(body, datetime.fromtimestamp(NOON + second, UTC))
        assert Contact.objects.get().name == "Ana Maria"
        Conversation.objects.all().delete()
        Contact.objects.all().delete()


@pytest.mark.parametrize("name", [None, "", "  "])
def test_no_name_erases_none(apply: Apply, name: str | None) -> None:
    apply(message_body("A1", push_name="Ana"))
    apply(name_body(name))
    assert Contact.objects.get().name == "Ana"


def test_an_address_book_is_taken_whole(apply: Apply) -> None:
    people = [{"remoteJid": f"55119900{n:05}@s.whatsapp.net", "pushName": f"P{n}"} for n in range(120)]
    apply({"event": "contacts.upsert", "instance": "lab", "data": people})
    apply({"event": "contacts.upsert", "instance": "lab", "data": people})
    assert Contact.objects.count() == 120
    assert not Conversation.objects.exists()


# --- history --------------------------------------------------------------------------------------


def test_history_is_shown_and_has_no_side_effects(apply: Apply, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("apps.chat.inbound.messages.publish", lambda *event: told.append(event))
    body = history_body(message_body("H1", "old", at=NOON - 9000), message_body("H2", at=NOON, from_me=True))
    assert apply(body) == "history"
    conversation = Conversation.objects.get()
    assert (conversation.status, conversation.unread_count) == ("closed", 0)
    assert list(Message.objects.values_list("recovered", flat=True)) == [True, True]
    assert Message.objects.get(provider_id="H1").read_at
    assert not told


def test_what_history_brought_counts_when_its_own_webhook_comes(apply: Apply, tenant: Tenant) -> None:
    apply(history_body(message_body("A1")))
    apply(message_body("A1"))
    conversation = Conversation.objects.get()
    assert (conversation.status, conversation.unread_count) == ("pending", 1)
    state = state_of(tenant)
    Conversation.objects.all().delete()
    apply(message_body("A1"))
    apply(history_body(message_body("A1")))
    assert state_of(tenant) == state


@over_http
def test_history_waits_for_nothing_that_happens_now(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own thread hangs, and what happens now is applied all the same."""
    import threading

    hold, real = threading.Event(), passing_apply()

    def slow(row: WebhookEvent) -> str:
        if row.event == "messages.set":
            assert hold.wait(20)
        return real(row)

    monkeypatch.setattr("apps.chat.inbound.apply", slow)
    parts = journal._running()
    assert send_undrained(instance, history_body(message_body("H1", at=NOON - 9000)), message_body("A1")) == 2
    assert parts.writer.wait_idle(10)
    assert parts.applier.wait_idle(10)
    assert list(Message.objects.values_list("provider_id", flat=True)) == ["A1"]
    hold.set()
    assert journal.drain(20)
    assert Message.objects.count() == 2


def passing_apply() -> Callable[[WebhookEvent], str]:
    from apps.chat import inbound

    return inbound.apply


def send_undrained(instance: Instance, *bodies: Body) -> int:
    from .test_webhook_http import _close, post

    async def run() -> int:
        try:
            answers = [(await post(instance.pk, body)).status_code for body in bodies]
        finally:
            await sync_to_async(_close)()
        return answers.count(200)

    return asyncio.run(run())


# --- what passes ----------------------------------------------------------------------------------


@over_http
def test_typing_is_told_once_and_not_journalled(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(passing, "publish", lambda tenant, event: told.append((tenant, event)))
    send(instance, message_body("A1"))
    typing = capture("wa_presence_update__0_presence_update")
    paused = json.loads(json.dumps(typing).replace("composing", "paused"))
    assert send(instance, typing, typing, paused) == [200, 200, 200]
    conversation = Conversation.objects.get()
    assert [(tenant, event["conversation_id"], event["is_typing"]) for tenant, event in told] == [
        (instance.tenant_id, str(conversation.pk), True),
        (instance.tenant_id, str(conversation.pk), False),
    ]
    assert all(event["user"] is None for _, event in told)
    assert WebhookEvent.objects.count() == 1


@over_http
def test_a_strangers_typing_is_nothing(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(passing, "publish", lambda *event: told.append(event))
    assert send(instance, capture("wa_presence_update__0_presence_update")) == [200]
    assert not told


@over_http
def test_a_qr_code_is_kept_sealed_on_its_instance_only(instance: Instance) -> None:
    assert send(instance, capture("wa_qr_limit__0_qrcode_updated")) == [200]
    instance.refresh_from_db()
    assert json.loads(instance.qr)["pairingCode"] == "ABCD1234"
    with connection.cursor() as cursor:
        cursor.execute("SELECT qr FROM chat_instance")
        assert "ABCD1234" not in cursor.fetchone()[0]
    assert not WebhookEvent.objects.exists()
    assert send(instance, capture("wa_qr_limit__4_qrcode_updated")) == [200]
    instance.refresh_from_db()
    assert instance.qr == ""


@over_http
def test_a_known_name_is_dropped_at_the_door(instance: Instance) -> None:
    assert send(instance, name_body("Ana"), name_body("Ana"), name_body(None), name_body("Eve")) == [200] * 4
    assert WebhookEvent.objects.count() == 2


@over_http
def test_a_name_that_could_not_be_stored_is_not_known(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = journal.store

    async def away(entry: journal.Entry) -> int:
        raise journal.NotStored("away")

    monkeypatch.setattr(journal, "store", away)
    assert send(instance, name_body("Ana")) == [503]
    monkeypatch.setattr(journal, "store", real)
    assert send(instance, name_body("Ana")) == [200]
    assert WebhookEvent.objects.count() == 1


def test_a_journal_row_of_any_spelling_may_wait(instance: Instance) -> None:
    from apps.chat.inbound.applier import is_later, sweep_once

    row = journalled(instance, {**history_body(message_body("H1")), "event": "MESSAGES_SET"})
    assert is_later(row.event)
    assert sweep_once(later=False) == 0
    assert sweep_once(later=True) == 1
