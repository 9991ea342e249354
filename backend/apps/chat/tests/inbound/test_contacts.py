"""Who is who: sets of addresses, merging, and what is never mixed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import transaction

from apps.chat import contact_merges, contacts
from apps.chat.errors import Conflict
from apps.chat.models import Contact, ContactJid, ContactMerge, Conversation, Delivery, Instance, Message
from apps.tenancy.models import Tenant

from .conftest import make_instance

LID = "111111111111111@lid"
PHONE = "5511990000001@s.whatsapp.net"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@transaction.atomic
def found(tenant: Tenant, *addresses: str, name: str = "") -> Contact:
    return contacts.find_or_create(tenant.id, addresses, name=name)


@transaction.atomic
def talk(instance: Instance, contact: Contact, address: str) -> Conversation:
    return contacts.conversation_with(instance, contact, address, NOW)[0]


def said(conversation: Conversation, provider_id: str) -> Message:
    return Message.objects.create(
        tenant_id=conversation.tenant_id,
        conversation=conversation,
        instance_id=conversation.instance_id,
        direction="outgoing",
        origin="api",
        provider_id=provider_id,
        sort_at=NOW,
        created_at=NOW,
    )


def test_a_second_address_is_learned(tenant: Tenant) -> None:
    first = found(tenant, LID)
    assert found(tenant, LID, PHONE) == found(tenant, PHONE) == first
    assert Contact.objects.get().phone == "5511990000001"


def test_two_who_prove_to_be_one_are_merged_into_the_holder_of_the_number(tenant: Tenant) -> None:
    found(tenant, LID, name="Ana")
    phone = found(tenant, PHONE)
    assert found(tenant, LID, PHONE) == phone
    assert Contact.objects.get().name == "Ana"
    assert ContactJid.objects.filter(contact=phone).count() == 2


def test_a_merge_moves_the_conversation(tenant: Tenant, instance: Instance) -> None:
    conversation = talk(instance, found(tenant, LID), LID)
    phone = found(tenant, PHONE)
    found(tenant, LID, PHONE)
    assert Conversation.objects.get().contact == phone
    assert talk(instance, phone, PHONE) == conversation
    assert Conversation.objects.get().remote_jid == PHONE


def test_a_merge_pours_two_conversations_into_one(tenant: Tenant, instance: Instance) -> None:
    lid = talk(instance, found(tenant, LID), LID)
    kept = talk(instance, found(tenant, PHONE), PHONE)
    said(lid, "A1")
    Conversation.objects.filter(pk=lid.pk).update(unread_count=2, last_message_preview="oi")
    found(tenant, LID, PHONE)
    conversation = Conversation.objects.get()
    assert conversation == kept
    assert (conversation.unread_count, conversation.last_message_preview) == (2, "oi")
    assert Message.objects.get().conversation == kept


def test_a_merge_leaves_a_lane_where_it_is(tenant: Tenant, instance: Instance) -> None:
    lid = talk(instance, found(tenant, LID), LID)
    phone = found(tenant, PHONE)
    kept = talk(instance, phone, PHONE)
    message = said(lid, "A1")
    Delivery.objects.create(
        tenant=tenant, conversation=lid, message=message, instance=instance, seq=1, fingerprint="x"
    )
    assert found(tenant, LID, PHONE) == phone
    assert Message.objects.get().conversation == lid
    assert contacts.known_conversations(instance, [LID]) == [kept.id]


def test_tenants_share_nobody(tenant: Tenant) -> None:
    other = Tenant.objects.create(name="Outra")
    assert found(tenant, PHONE) != found(other, PHONE)


def test_known_conversations_are_of_this_instance(tenant: Tenant, instance: Instance) -> None:
    contact = found(tenant, PHONE)
    talk(make_instance(tenant, "second"), contact, PHONE)
    assert contacts.known_conversations(instance, [PHONE]) == []


@pytest.mark.parametrize("addresses", [[], [""], ["   "], ["9" * 200 + "@s.whatsapp.net"]])
def test_no_address_is_nobody(tenant: Tenant, addresses: list[str]) -> None:
    with pytest.raises(contacts.NoAddress):
        found(tenant, *addresses)


def test_bare_digits_become_a_jid(tenant: Tenant, instance: Instance) -> None:
    conversation = talk(instance, found(tenant, "4915112345678"), "4915112345678")
    assert conversation.remote_jid == "4915112345678@s.whatsapp.net"


def test_a_race_for_an_address_ends_with_one_contact(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody commits the same contact between our look and our insert."""
    winner = found(tenant, PHONE)
    real, looks = contacts._known, []

    def blind_at_first(*args: object) -> object:
        looks.append(args)
        return {} if len(looks) == 1 else real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(contacts, "_known", blind_at_first)
    assert found(tenant, PHONE, LID) == winner
    assert Contact.objects.count() == 1


# --- merges, recorded and undone --------------------------------------------------------------------


def test_a_merge_is_recorded_with_its_reason(tenant: Tenant) -> None:
    found(tenant, LID, name="Ana")
    phone = found(tenant, PHONE)
    found(tenant, LID, PHONE)
    record = ContactMerge.objects.get()
    assert record.contact == phone
    assert (record.left["name"], [one["key"] for one in record.left["addresses"]]) == ("Ana", [LID])
    assert record.why == [LID, "551190000001@s.whatsapp.net"]


def test_undoing_gives_back_addresses_conversations_and_messages(tenant: Tenant, instance: Instance) -> None:
    ana = found(tenant, LID, name="Ana")
    lid = talk(instance, ana, LID)
    kept = talk(instance, found(tenant, PHONE), PHONE)
    moved, stays = said(lid, "A1"), said(kept, "B1")
    stays_id, lid_id = kept.pk, lid.pk
    found(tenant, LID, PHONE)
    after = said(Conversation.objects.get(), "C1")

    back = contact_merges.undo(ContactMerge.objects.get().pk)

    assert (back.pk, back.name) == (ana.pk, "Ana")
    assert found(tenant, LID) == back
    assert found(tenant, PHONE) != back
    assert found(tenant, PHONE).name == ""
    assert Message.objects.get(pk=moved.pk).conversation_id == lid_id
    assert Message.objects.get(pk=stays.pk).conversation_id == stays_id
    assert Message.objects.get(pk=after.pk).conversation_id == stays_id
    assert Conversation.objects.get(pk=lid_id).contact == back


def test_undoing_gives_back_a_moved_conversation(tenant: Tenant, instance: Instance) -> None:
    conversation = talk(instance, found(tenant, LID), LID)
    found(tenant, PHONE)
    found(tenant, LID, PHONE)
    back = contact_merges.undo(ContactMerge.objects.get().pk)
    conversation.refresh_from_db()
    assert conversation.contact == back


def test_what_was_undone_is_not_merged_again(tenant: Tenant) -> None:
    found(tenant, LID, name="Ana")
    found(tenant, PHONE, name="Bia")
    found(tenant, LID, PHONE)
    contact_merges.undo(ContactMerge.objects.get().pk)
    assert found(tenant, LID, PHONE).name == "Ana"
    assert found(tenant, PHONE, LID).name == "Bia"
    assert (Contact.objects.count(), ContactMerge.objects.count()) == (2, 1)


def test_a_merge_is_undone_once(tenant: Tenant) -> None:
    found(tenant, LID)
    found(tenant, PHONE)
    found(tenant, LID, PHONE)
    record = ContactMerge.objects.get()
    contact_merges.undo(record.pk)
    with pytest.raises(Conflict):
        contact_merges.undo(record.pk)
