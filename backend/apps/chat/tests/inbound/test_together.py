"""Plain webhooks are applied many at a time: what that costs, what goes alone, that nobody can tell the difference."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from apps.chat.inbound import applier, looks, messages, stretches, together
from apps.chat.models import Ack, Contact, Conversation, Instance, Message, WebhookEvent
from apps.tenancy.models import Tenant

from .conftest import (
    NOON,
    Body,
    edit_body,
    journalled,
    make_instance,
    message_body,
    reaction_body,
    state_of,
    status_body,
)

State = WebhookEvent.State
ExactQueries = Callable[[int], AbstractContextManager[object]]
CHATS = 4
NOON_AT = datetime.fromtimestamp(NOON, UTC)


def jid_of(chat: int) -> str:
    return f"551199000000{chat}@s.whatsapp.net"


def text(number: int, **message: Any) -> Body:
    """The n-th text of a flood: from each chat in turn, one a second."""
    return message_body(
        f"T{number}", f"words {number}", at=NOON + 100 + number, jid=jid_of(number % CHATS), **message
    )


def put(instance: Instance, bodies: Sequence[Body], at: datetime | None = None) -> list[int]:
    when = at or NOON_AT + timedelta(seconds=200)
    return [journalled(instance, body, when).pk for body in bodies]


def told(instance: Instance, bodies: Sequence[Body], at: datetime | None = None) -> list[str]:
    """Apply the bodies as one stretch; their notes."""
    return [note for _, note in applier.try_all(put(instance, bodies, at))]


def plain(instance: Instance, bodies: Sequence[Body]) -> list[str]:
    """Ids of the messages that were applied together."""
    ids = put(instance, bodies)
    rows = applier._new(ids)
    notes = together.apply([stretches.read(row) for row in rows])
    return [row.body["data"].get("key", row.body["data"])["id"] for row in rows if row.pk in notes]


def sent(instance: Instance, count: int) -> list[Message]:
    conversation = Conversation.objects.order_by("id")[0]
    return [
        Message.objects.create(
            tenant_id=instance.tenant_id,
            instance=instance,
            conversation=conversation,
            direction="outgoing",
            origin="api",
            provider_id=f"S{number}",
            ack=Ack.SUBMITTED,
            sort_at=NOON_AT,
            created_at=NOON_AT,
        )
        for number in range(count)
    ]


@pytest.fixture
def chats(instance: Instance) -> Instance:
    """An instance with a conversation for each chat, whose contacts were looked up."""
    for chat in range(CHATS):
        body = message_body(f"C{chat}", "hello", jid=jid_of(chat))
        assert applier.try_one(put(instance, [body], NOON_AT)[0]) == "received"
    Contact.objects.update(picture_checked_at=NOON_AT + timedelta(days=9999))
    return Instance.objects.get(pk=instance.pk)


# --- what it costs --------------------------------------------------------------------------------
# BEGIN and COMMIT are counted, and the query that reads the journal; marking them as done is one more for 64.


def costs(
    given: ExactQueries, sqlite: int, postgresql: int, instance: Instance, bodies: Sequence[Body]
) -> set[str]:
    """Apply the bodies as a stretch, for exactly so many statements; the notes."""
    ids = put(instance, bodies)
    with given(postgresql if connection.vendor == "postgresql" else sqlite):
        return {note for _, note in applier.try_all(ids)}


def test_a_run_of_texts_costs_a_dozen_statements(
    chats: Instance, django_assert_num_queries: ExactQueries
) -> None:
    bodies = [text(number) for number in range(16)]
    assert costs(django_assert_num_queries, 10, 11, chats, bodies) == {"received"}


def test_a_run_of_acks_costs_seven_statements(
    chats: Instance, django_assert_num_queries: ExactQueries
) -> None:
    sent(chats, 16)
    bodies = [status_body(f"S{number}", "SERVER_ACK") for number in range(16)]
    assert costs(django_assert_num_queries, 6, 7, chats, bodies) == {"ack"}
    assert set(Message.objects.filter(direction="outgoing").values_list("ack", "delivered_at")) == {(2, None)}


def test_a_run_of_echoes_costs_five_statements(
    chats: Instance, django_assert_num_queries: ExactQueries
) -> None:
    sent(chats, 16)
    bodies = [message_body(f"S{number}", from_me=True) for number in range(16)]
    assert costs(django_assert_num_queries, 4, 5, chats, bodies) == {"echo"}


@pytest.mark.parametrize(
    ("body", "sqlite", "postgresql"),
    [
        (text(1), 10, 11),
        (status_body("S0", "READ"), 4, 4),
        (message_body("S0", from_me=True), 2, 2),
    ],
)
def test_one_alone_costs_no_more_than_it_did(
    chats: Instance, django_assert_num_queries: ExactQueries, body: Body, sqlite: int, postgresql: int
) -> None:
    sent(chats, 1)
    assert costs(django_assert_num_queries, sqlite, postgresql, chats, [body])


# --- nobody can tell the difference ---------------------------------------------------------------


def test_texts_of_one_second_stand_in_the_order_they_came(chats: Instance) -> None:
    bodies = [message_body(f"T{number}", at=NOON + 100, jid=jid_of(0)) for number in range(30)]
    told(chats, bodies)
    thread = Message.objects.filter(provider_id__startswith="T").order_by("sort_at", "id")
    assert list(thread.values_list("provider_id", flat=True)) == [f"T{number}" for number in range(30)]


def test_it_counts_and_shows_what_the_chat_said_last(chats: Instance) -> None:
    Conversation.objects.update(status="closed")
    told(chats, [text(number) for number in range(10)])
    conversation = Conversation.objects.get(remote_jid=jid_of(1))
    assert (conversation.unread_count, conversation.status) == (1 + 3, "pending")
    assert conversation.last_message_preview == "words 9"
    assert conversation.last_message_at == Message.objects.get(provider_id="T9").sort_at


def test_a_reply_and_what_it_answers_may_come_in_one_run_in_any_order(chats: Instance) -> None:
    second = message_body("R1", at=NOON + 100, jid=jid_of(0), quoted="Q1")
    first = message_body("Q1", at=NOON + 100, jid=jid_of(0))
    told(chats, [second, first, message_body("R2", at=NOON + 100, jid=jid_of(0), quoted="Q1")])
    quoted = Message.objects.get(provider_id="Q1")
    for reply in ("R1", "R2"):
        assert Message.objects.get(provider_id=reply).reply_to == quoted


def test_a_text_told_twice_in_one_run_is_stored_once(chats: Instance) -> None:
    assert told(chats, [text(1), text(1), text(2)]) == ["received", "known", "received"]
    assert Message.objects.filter(provider_id="T1").count() == 1


def test_acks_of_one_message_rise_in_one_run(chats: Instance) -> None:
    sent(chats, 1)
    at = NOON_AT + timedelta(seconds=200)
    assert told(chats, [status_body("S0", status) for status in ("READ", "SERVER_ACK", "DELIVERY_ACK")])
    message = Message.objects.get(provider_id="S0")
    assert (message.ack, message.sent_at, message.delivered_at, message.seen_at) == (4, at, at, at)


def test_two_tenants_in_one_run_do_not_mix(chats: Instance) -> None:
    other = make_instance(Tenant.objects.create(name="other"))
    told(other, [message_body("C0", jid=jid_of(0))])
    ids = [put(one, [text(number)])[0] for number in (0, 4) for one in (chats, other)]
    applier.try_all(ids)
    for instance in (chats, other):
        mine = Message.objects.filter(instance=instance, provider_id__in=("T0", "T4"))
        assert mine.count() == 2
        assert {message.conversation.tenant_id for message in mine} == {instance.tenant_id}


def test_each_is_told_after_the_commit_in_its_order(chats: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []

    def heard(tenant_id: object, event: dict[str, Any]) -> None:
        assert not connection.in_atomic_block
        said.append(event)

    monkeypatch.setattr(together, "publish", heard)
    told(chats, [text(number) for number in range(3)])
    words = [event["message"]["content"] for event in said if event["type"] == "message_received"]
    assert words == ["words 0", "words 1", "words 2"]
    assert [event["type"] for event in said] == ["conversation_updated", "message_received"] * 3


# --- what goes alone ------------------------------------------------------------------------------


def image(number: int) -> Body:
    body = text(number)
    body["data"] |= {"message": {"imageMessage": {"mimetype": "image/jpeg"}}, "messageType": "imageMessage"}
    return body


@pytest.mark.parametrize("first", [image(0), reaction_body("x", target="T4", jid=jid_of(0))])
def test_what_goes_alone_is_not_overtaken_in_its_chat(chats: Instance, first: Body) -> None:
    bodies = [first, text(1), text(4), text(2)]
    assert plain(chats, bodies) == ["T1", "T2"]


def test_an_unknown_contact_goes_alone(chats: Instance) -> None:
    stranger = message_body("N1", jid="5511988887777@s.whatsapp.net")
    assert plain(chats, [stranger, text(1), text(2)]) == ["T1", "T2"]


def test_what_something_waits_for_goes_alone(chats: Instance) -> None:
    told(chats, [edit_body("T1", "edited", (NOON + 300) * 1000)])
    bodies = [text(1), text(2), text(3)]
    assert plain(chats, bodies) == ["T2", "T3"]
    told(chats, bodies)
    assert Message.objects.get(provider_id="T1").content == "edited"


def test_an_older_text_goes_alone_and_does_not_lead(chats: Instance) -> None:
    told(chats, [text(8), text(9)])
    assert plain(chats, [text(4), text(5), text(2), text(3)]) == ["T2", "T3"]


def test_an_ack_of_a_customers_message_goes_alone(chats: Instance) -> None:
    sent(chats, 1)
    bodies = [status_body("C0", "READ", from_me=False), status_body("S0", "READ"), text(1)]
    assert told(chats, bodies) == ["read on the phone", "ack", "received"]


def test_nothing_passes_what_may_touch_anything(chats: Instance) -> None:
    body = {"event": "connection.update", "data": {"state": "open", "statusReason": 200}}
    rows = applier._new(put(chats, [text(1), text(2), body, text(3)]))
    assert [len(run) for run in stretches.runs(rows)] == [2, 1, 1]


def test_a_link_that_closed_and_opened_in_one_stretch_is_healed(chats: Instance) -> None:
    Instance.objects.update(connection="open", heal_at=NOON_AT + timedelta(days=9999))
    states = ("close", "open")
    told(chats, [{"event": "connection.update", "data": {"state": state}} for state in states])
    chats.refresh_from_db()
    assert chats.connection == "open"
    assert chats.heal_at < NOON_AT + timedelta(days=9998)


def test_what_somebody_holds_is_not_waited_for(chats: Instance) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Conversation.objects.select_for_update().filter(remote_jid=jid_of(1)))
            held.set()
            done.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        assert plain(chats, [text(1), text(2), text(3)]) == ["T2", "T3"]
    finally:
        done.set()
        thread.join(30)


# --- failures -------------------------------------------------------------------------------------


def test_one_that_fails_leaves_the_others_unharmed(
    chats: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = messages.new

    def poisoned(row: WebhookEvent, event: Any, origin: Any) -> Message:
        if event.key_id == "T1":
            raise ValueError("words nobody may log")
        return real(row, event, origin)

    monkeypatch.setattr(messages, "new", poisoned)
    ids = put(chats, [text(number) for number in range(4)])
    assert [pk for pk, _ in applier.try_all(ids)] == [ids[0], ids[2], ids[3]]
    row = WebhookEvent.objects.get(pk=ids[1])
    assert (row.state, row.tries, row.note) == (State.NEW, 1, "ValueError")
    assert WebhookEvent.objects.exclude(pk=row.pk).filter(tries__gt=0).count() == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "nobody may log" not in caplog.text


def test_a_run_that_fails_at_the_end_leaves_nothing_and_tells_nothing(
    chats: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, said = state_of(chats.tenant), []

    def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(together, "publish", lambda *event: said.append(event))
    monkeypatch.setattr(together.rows, "insert_all", fail)
    rows = applier._new(put(chats, [text(1), text(2)]))
    with pytest.raises(ValueError):
        together.apply([stretches.read(row) for row in rows])
    assert state_of(chats.tenant) == before
    assert said == []


def test_large_events_make_short_stretches(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    seen: list[list[int]] = []
    monkeypatch.setattr(applier, "try_all", lambda ids: seen.append(list(ids)) or [])
    one = applier.Applier()
    sizes = [(1, 10), (2, applier._STRETCH_BYTES), (3, 10), (4, 10)]
    one.put(sizes)
    assert one.wait_idle(10)
    one.stop(10)
    assert seen == [[1], [2], [3, 4]]


def test_a_look_asks_nothing_that_nobody_needs(chats: Instance) -> None:
    with transaction.atomic():
        assert looks.look([]) == looks.Look()
