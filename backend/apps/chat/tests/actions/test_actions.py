"""The verbs, called from Python: what they write, what they tell, and when."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import transaction

from apps.chat import actions, deciding, lookups, tasks
from apps.chat.errors import Conflict, InvalidMessage, NotFound
from apps.chat.models import Contact, ContactJid, Conversation, Delivery, Message, PassportEntry
from apps.chat.tests.api.world import Team, set_state


class Told:
    """What was published and woken, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[dict[str, Any]] = []
        self.woken: list[Any] = []
        for verbs in (actions, deciding):
            monkeypatch.setattr(verbs, "publish", lambda tenant, event: self.events.append(event))
        monkeypatch.setattr(tasks.send_message_to_evolution, "delay", lambda *ids: self.woken.append(ids))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def test_everyone_is_told_after_commit_and_not_before(
    team: Team, told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        message, created = actions.send_message(team.user, team.conversation, "Olá")
        assert (told.events, told.woken) == ([], [])

    assert created
    assert told.woken == [(message.pk, team.conversation.pk, team.instance.pk)]
    assert [event["type"] for event in told.events] == ["message_received"]
    assert told.events[0]["message"]["status"] == "queued"
    assert told.events[0]["conversation_id"] == str(team.conversation.pk)


def test_writing_in_a_closed_conversation_tells_that_it_is_open(
    team: Team, told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    actions.close(team.conversation)

    with django_capture_on_commit_callbacks(execute=True):
        actions.send_message(team.user, team.conversation, "Olá")

    assert {event["type"] for event in told.events} == {"message_received", "conversation_updated"}
    changed = next(event for event in told.events if event["type"] == "conversation_updated")
    assert changed["conversation"]["status"] == "open"
    assert changed["conversation"]["last_message_preview"] == "Olá"


def test_a_rolled_back_message_is_told_to_nobody(
    team: Team, told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError), transaction.atomic():
        actions.send_message(team.user, team.conversation, "Olá")
        raise RuntimeError

    assert (told.events, told.woken) == ([], [])
    assert not Message.objects.exists()


def test_a_known_message_is_not_told_again(
    team: Team, told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    actions.send_message(team.user, team.conversation, "Olá", "x")
    with django_capture_on_commit_callbacks(execute=True):
        _, created = actions.send_message(team.user, team.conversation, "Olá", "x")

    assert not created
    assert (told.events, told.woken) == ([], [])


def test_a_message_needs_no_user(team: Team) -> None:
    message, _ = actions.send_message(None, team.conversation, "Olá")

    assert message.sender is None


def test_the_lane_is_numbered(team: Team) -> None:
    for n in range(3):
        team.message(str(n))

    assert list(Delivery.objects.order_by("pk").values_list("seq", flat=True)) == [1, 2, 3]


def test_look_ups_stay_within_tenants(team: Team, others: Team) -> None:
    message = others.message()
    assert lookups.conversation_of(others.tenant.pk, others.conversation.pk) == others.conversation
    assert lookups.conversation_of(str(others.tenant.pk), others.conversation.pk) == others.conversation
    assert lookups.message_of([others.tenant.pk, team.tenant.pk], message.pk) == message
    with pytest.raises(NotFound):
        lookups.conversation_of(team.tenant.pk, others.conversation.pk)
    with pytest.raises(NotFound):
        lookups.message_of([team.tenant.pk], message.pk)
    with pytest.raises(NotFound):
        lookups.message_of([], message.pk)


def test_looking_at_a_conversation_opens_no_credential(team: Team) -> None:
    found = lookups.conversation_of(team.tenant.pk, team.conversation.pk)

    assert found.instance.get_deferred_fields() == {"api_key", "webhook_secret"}


def test_starting_tells_of_a_new_conversation_once(
    team: Team, told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        started, is_new = actions.start_conversation(team.tenant, "+55 85 98888-7777")
    with django_capture_on_commit_callbacks(execute=True):
        again, is_new_again = actions.start_conversation(team.tenant.pk, "558588887777")

    assert (is_new, is_new_again) == (True, False)
    assert started == again
    assert [event["type"] for event in told.events] == ["new_conversation", "conversation_updated"]
    assert started.remote_jid == "5585988887777@s.whatsapp.net"
    assert started.status == "open"


def test_starting_with_a_group(team: Team) -> None:
    started, _ = actions.start_conversation(team.tenant, "120363041234567890@g.us")

    assert started.remote_jid == "120363041234567890@g.us"
    assert started.contact.kind == Contact.Kind.GROUP


def test_the_same_person_in_two_tenants_is_two_contacts(team: Team, others: Team) -> None:
    assert team.conversation.contact_id != others.conversation.contact_id
    assert ContactJid.objects.values("key").distinct().count() == 1


def test_assigning_takes_a_pending_conversation(team: Team) -> None:
    Conversation.objects.update(status="pending")
    conversation = lookups.conversation_of(team.tenant.pk, team.conversation.pk)

    actions.assign(conversation, team.user)

    team.conversation.refresh_from_db()
    assert (team.conversation.status, team.conversation.assigned_to) == ("open", team.user)


def test_only_members_can_be_assigned(team: Team, others: Team) -> None:
    for user_id in (others.user.pk, uuid.uuid4()):
        with pytest.raises(InvalidMessage):
            actions.check_assignee(team.conversation, user_id)


def test_discarding_is_written_down(team: Team) -> None:
    message = team.failed()

    deciding.discard(message)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == (Delivery.State.CANCELLED, "discarded_by_person")
    assert PassportEntry.objects.get().event == "discarded"


def test_discarding_another_failure_than_the_one_seen_is_a_conflict(team: Team) -> None:
    message = team.failed()
    set_state(message.pk, Delivery.State.FAILED, failure_gen=3)

    with pytest.raises(Conflict):
        deciding.discard(message, failure_gen=2)
    deciding.discard(message, failure_gen=3)


def test_what_was_typed_on_the_phone_is_not_ours_to_act_on(team: Team) -> None:
    typed = team.incoming(direction="outgoing", origin="phone")

    for act in (deciding.cancel, deciding.retry, deciding.discard, deciding.delete):
        with pytest.raises(Conflict):
            act(typed)
    with pytest.raises(Conflict):
        deciding.release(typed, send=True)
    with pytest.raises(Conflict):
        deciding.edit(typed, "b")


def test_an_edit_is_told(team: Team, told: Told) -> None:
    message = team.message("Ola")

    deciding.edit(message, "Olá")

    assert told.events[-1]["type"] == "message_edited"
    assert told.events[-1]["content"] == "Olá"
