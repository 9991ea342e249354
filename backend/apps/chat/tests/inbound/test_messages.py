"""What each kind of webhook does to our rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.chat.models import Ack, Contact, Conversation, Evidence, Instance, Message
from apps.tenancy.models import Tenant

from .conftest import NOON, capture, delete_body, edit_body, message_body, state_of, status_body

Apply = Callable[..., str]
NOON_AT = datetime.fromtimestamp(NOON, UTC)


def test_it_stores_a_text_with_its_contact_and_conversation(apply: Apply, instance: Instance) -> None:
    body = message_body("A1", "bom dia")
    assert apply(body) == "received"
    message = Message.objects.select_related("conversation__contact").get()
    conversation = message.conversation
    assert (message.direction, message.origin, message.kind) == ("incoming", "customer", "text")
    assert (message.content, message.provider_id, message.instance_id) == ("bom dia", "A1", instance.id)
    assert message.tenant_id == conversation.tenant_id == instance.tenant_id
    assert (conversation.status, conversation.unread_count) == ("pending", 1)
    assert conversation.last_message_preview == "bom dia"
    assert conversation.last_message_at == message.sort_at
    assert conversation.remote_jid == "5511990000001@s.whatsapp.net"
    assert (conversation.contact.name, conversation.contact.phone) == ("Ana Test", "5511990000001")


def test_it_stores_a_message_once(apply: Apply, tenant: Tenant) -> None:
    apply(message_body("A1"))
    before = state_of(tenant)
    assert apply(message_body("A1"), NOON_AT + timedelta(hours=1)) == "known"
    assert state_of(tenant) == before


def test_an_answer_in_the_second_of_our_message_stands_below_it(apply: Apply) -> None:
    apply(message_body("A1"), NOON_AT + timedelta(seconds=5))
    assert Message.objects.get().sort_at == NOON_AT + timedelta(milliseconds=999)


def test_our_answer_within_the_second_stands_below_the_message(apply: Apply) -> None:
    apply(message_body("A1"), NOON_AT + timedelta(milliseconds=300))
    assert Message.objects.get().sort_at == NOON_AT + timedelta(milliseconds=300)


@pytest.mark.parametrize("at", [None, 5, NOON + 999_999])
def test_an_absurd_time_becomes_the_time_of_receipt(apply: Apply, at: Any) -> None:
    apply(message_body("A1", at=at), NOON_AT)
    assert Message.objects.get().sort_at == NOON_AT


def test_a_late_message_is_recovered_and_still_unread(apply: Apply) -> None:
    apply(message_body("A1"), NOON_AT + timedelta(seconds=121))
    assert Message.objects.get().recovered
    assert Conversation.objects.get().unread_count == 1


def test_an_older_message_does_not_become_the_preview(apply: Apply) -> None:
    apply(message_body("A2", "second", at=NOON + 60))
    apply(message_body("A1", "first", at=NOON))
    conversation = Conversation.objects.get()
    assert conversation.last_message_preview == "second"
    assert conversation.last_message_at > NOON_AT + timedelta(seconds=59)


@pytest.mark.parametrize(("assigned", "status"), [(False, "pending"), (True, "open")])
def test_a_message_reopens_a_closed_conversation(apply: Apply, assigned: bool, status: str) -> None:
    apply(message_body("A1"))
    user = None
    if assigned:
        from apps.tenancy.models import User

        user = User.objects.create_user("ana@example.com", "x" * 12)
    Conversation.objects.update(status="closed", assigned_to=user)
    apply(message_body("A2"))
    assert Conversation.objects.get().status == status


def test_the_latest_push_name_stays_and_none_erases_it(apply: Apply) -> None:
    apply(message_body("A1", push_name=None))
    apply(message_body("A3", push_name="Ana Maria", at=NOON + 9))
    apply(message_body("A2", push_name="Ana", at=NOON + 3))
    apply(message_body("A4", push_name=None, at=NOON + 20))
    assert Contact.objects.get().name == "Ana Maria"


def test_spellings_of_a_number_are_one_person(apply: Apply) -> None:
    for number, jid in enumerate(
        ("5511990000001@s.whatsapp.net", "551190000001@s.whatsapp.net", "5511990000001")
    ):
        apply(message_body(f"A{number}", jid=jid))
    assert Conversation.objects.get().unread_count == 3


def test_a_group_keeps_its_name_and_messages_their_authors(apply: Apply) -> None:
    apply(capture("wain_group_text_lid__2_messages_upsert"))
    contact, message = Contact.objects.get(kind="group"), Message.objects.get()
    assert (contact.kind, contact.name, contact.phone) == ("group", "", "")
    assert (message.author_name, message.author_jid) == ("Ana Test", "111111111111111@lid")
    assert [row.key for row in contact.jids.all()] == ["120363000000000001@g.us"]
    speaker = Contact.objects.get(kind="individual")
    assert {row.key for row in speaker.jids.all()} == {"111111111111111@lid", "551190000001@s.whatsapp.net"}


def test_a_reply_finds_what_it_answers(apply: Apply) -> None:
    apply(message_body("A1"))
    apply(message_body("A2", quoted="A1", at=NOON + 9))
    assert Message.objects.get(provider_id="A2").reply_to == Message.objects.get(provider_id="A1")


def test_a_reply_that_came_first_finds_what_it_answers(apply: Apply) -> None:
    apply(message_body("A2", quoted="A1", at=NOON + 9))
    apply(message_body("A1"))
    assert Message.objects.get(provider_id="A2").reply_to == Message.objects.get(provider_id="A1")


def test_a_reply_to_another_chat_is_not_linked(apply: Apply) -> None:
    apply(message_body("A1", jid="5511990000002@s.whatsapp.net"))
    apply(message_body("A2", quoted="A1"))
    assert Message.objects.get(provider_id="A2").reply_to is None


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("wain_event_unknown_type__2_messages_upsert", "unknown", None),
        ("wain_viewonce__2_messages_upsert", "view_once", "[view_once]"),
        ("in_image__0_messages_upsert", "image", None),
        ("wain_audio_ptt__2_messages_upsert", "voice", "[voice]"),
    ],
)
def test_what_has_no_words_becomes_a_stub(apply: Apply, name: str, kind: str, content: str | None) -> None:
    assert apply(capture(name)) == "received"
    message = Message.objects.get()
    assert message.kind == kind
    assert message.content == (content or message.content)
    assert message.content


def test_a_message_typed_on_the_phone_is_shown(apply: Apply) -> None:
    assert apply(capture("wain_fromme_phone__1_messages_upsert")) == "sent elsewhere"
    message = Message.objects.get()
    assert (message.direction, message.origin, message.ack) == ("outgoing", "phone", Ack.SENT)
    conversation = Conversation.objects.select_related("contact").get()
    assert (conversation.unread_count, conversation.contact.name) == (0, "")


def test_another_programs_send_is_shown_and_acknowledged(apply: Apply) -> None:
    assert apply(capture("stub_sendText__0_send_message")) == "sent elsewhere"
    apply(capture("stub_sendText__2_messages_update"))
    apply(capture("stub_sendText__1_messages_update"))
    message = Message.objects.get()
    assert message.origin == "other"
    assert message.ack > Ack.SENT


def test_an_ack_before_its_message_is_attached(apply: Apply) -> None:
    assert apply(status_body("P1", "READ")) == "ack parked"
    apply(message_body("P1", from_me=True))
    assert Message.objects.get().ack == Ack.SEEN
    assert not Evidence.objects.exists()


def test_an_ack_never_falls(apply: Apply) -> None:
    apply(message_body("P1", from_me=True))
    apply(status_body("P1", "READ"))
    apply(status_body("P1", "DELIVERY_ACK"))
    assert Message.objects.get().ack == Ack.SEEN


@pytest.mark.parametrize("status_first", [True, False])
def test_a_message_read_on_the_phone_is_not_unread(apply: Apply, status_first: bool) -> None:
    bodies = [message_body("A1"), status_body("A1", "READ", from_me=False)]
    for body in reversed(bodies) if status_first else bodies:
        apply(body)
    assert Conversation.objects.get().unread_count == 0
    assert Message.objects.get().read_at
    assert not Evidence.objects.exists()


@pytest.mark.parametrize("edit_first", [True, False])
def test_an_edit_replaces_the_words(apply: Apply, edit_first: bool) -> None:
    bodies = [message_body("A1", "v1"), edit_body("A1", "v2", (NOON + 2) * 1000)]
    for body in reversed(bodies) if edit_first else bodies:
        apply(body)
    message = Message.objects.get()
    assert (message.content, message.edited_at) == ("v2", NOON_AT + timedelta(seconds=2))
    assert Conversation.objects.get().last_message_preview == "v2"
    assert not Evidence.objects.exists()


def test_the_latest_edit_wins(apply: Apply) -> None:
    apply(message_body("A1", "v1"))
    apply(edit_body("A1", "v3", (NOON + 3) * 1000))
    apply(edit_body("A1", "v2", (NOON + 2) * 1000))
    assert Message.objects.get().content == "v3"


def test_an_edit_without_text_is_told(apply: Apply) -> None:
    apply(message_body("A1", "v1"))
    apply(edit_body("A1", None, (NOON + 3) * 1000))
    message = Message.objects.get()
    assert message.content == "v1"
    assert message.edited_at


@pytest.mark.parametrize("delete_first", [True, False])
def test_a_deletion_is_marked(apply: Apply, delete_first: bool) -> None:
    bodies = [message_body("A1", "v1"), delete_body("A1")]
    for body in reversed(bodies) if delete_first else bodies:
        apply(body)
    assert Message.objects.get().deleted_at
    assert not Evidence.objects.exists()


def test_captured_edit_and_revoke_of_a_customer(apply: Apply) -> None:
    apply(capture("wain_text_to_edit__2_messages_upsert"))
    apply(capture("wain_edited_sender_perspective__0_messages_edited"))
    assert Message.objects.get().content == "v2"
    assert apply(capture("wain_revoked_sender_perspective__0_messages_edited")).startswith("ignored")


def test_an_id_too_long_to_store_is_ignored(apply: Apply) -> None:
    assert apply(message_body("x" * 200)).startswith("ignored: malformed")


def test_instances_do_not_share_ids(apply: Apply, tenant: Tenant) -> None:
    from apps.chat import inbound

    from .conftest import journalled, make_instance

    apply(message_body("A1"))
    inbound.apply(journalled(make_instance(tenant, "second"), message_body("A1")))
    assert Message.objects.count() == 2
    assert Contact.objects.count() == 1
    assert Conversation.objects.count() == 2
