"""T12 to T16: what a person may do to a delivery, in each state it may be in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from apps.chat import redis_streams
from apps.chat.delivery import person
from apps.chat.errors import Conflict, NotFound, QueueAway
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.models import Attempt, Conversation, Delivery, Message, PassportEntry
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    due_now,
    final,
    make_conversation,
    make_tenant,
    not_sent,
    queue,
    queue_many,
    step_one,
    stepped,
    unclear,
    write,
)

State = Delivery.State
pytestmark = pytest.mark.django_db

FINISHED = [State.SENT, State.FAILED, State.CANCELLED]
Verb = Callable[[Delivery], Any]

cancel: Verb = lambda row: person.cancel(row.message_id, row.tenant_id)  # noqa: E731
edit: Verb = lambda row: person.edit(row.message_id, row.tenant_id, "novo")  # noqa: E731
send_anyway: Verb = lambda row: person.release(row.message_id, row.tenant_id, send=True)  # noqa: E731
discard: Verb = lambda row: person.release(row.message_id, row.tenant_id, send=False)  # noqa: E731
replay: Verb = lambda row: person.replay(row.message_id, row.tenant_id)  # noqa: E731
VERBS = [cancel, edit, send_anyway, discard, replay]


@pytest.fixture
def conversation() -> Conversation:
    return make_conversation()


def fresh(row: Delivery) -> Delivery:
    return Delivery.objects.select_related("message").get(pk=row.pk)


def passport(row: Delivery) -> list[str]:
    return list(PassportEntry.objects.filter(message_id=row.message_id).values_list("event", flat=True))


def held(conversation: Conversation) -> Delivery:
    row = queue(conversation)
    write(final(stepped(conversation), State.HELD, reason="evidence_missing"))
    return fresh(row)


@pytest.mark.parametrize("verb", VERBS)
def test_another_tenants_message_does_not_exist(verb: Verb) -> None:
    row = queue()
    row.tenant_id = make_tenant().pk
    with pytest.raises(NotFound):
        verb(row)
    row.message_id = uuid4()
    with pytest.raises(NotFound):
        verb(row)


# --- cancel ---------------------------------------------------------------------------------------


def test_a_queued_message_is_stopped(conversation: Conversation) -> None:
    row, follower = queue_many(conversation, 2)
    assert cancel(row) == "stopped"
    after = fresh(row)
    assert (after.state, after.reason, after.finished_at is None) == (
        State.CANCELLED,
        "cancelled_by_person",
        False,
    )
    assert passport(row) == ["cancelled"]
    assert stepped(conversation).id == follower.pk


@pytest.mark.parametrize("state", [State.SENDING, State.VERIFYING])
def test_a_message_in_a_workers_hands_is_asked_to_stop(conversation: Conversation, state: int) -> None:
    row = queue(conversation)
    step = stepped(conversation)
    if state == State.VERIFYING:
        write(unclear(step))
    assert cancel(row) == "pending"
    assert (fresh(row).state, fresh(row).cancel_requested) == (state, True)
    assert passport(row) == ["cancel_requested"]


def test_a_pending_cancel_ends_as_sent_when_it_was(conversation: Conversation) -> None:
    row = queue(conversation)
    step = stepped(conversation)
    cancel(row)
    write(accepted(step))
    assert fresh(row).state == State.SENT


def test_a_pending_cancel_ends_as_cancelled_when_it_was_not_sent(conversation: Conversation) -> None:
    row = queue(conversation)
    step = stepped(conversation)
    cancel(row)
    write(not_sent(step))
    assert fresh(row).state == State.CANCELLED


@pytest.mark.parametrize("state", [State.HELD, *FINISHED])
def test_nothing_else_can_be_cancelled(conversation: Conversation, state: int) -> None:
    row = queue(conversation, state=state)
    with pytest.raises(Conflict):
        cancel(row)
    assert fresh(row).state == state
    assert passport(row) == []


def test_a_cancel_says_so_when_an_earlier_try_may_have_gone_out(conversation: Conversation) -> None:
    row = held(conversation)
    send_anyway(row)
    assert cancel(row) == "stopped_maybe"


def test_a_cancel_is_sure_when_every_try_was_surely_not_sent(conversation: Conversation) -> None:
    row = queue(conversation)
    write(not_sent(stepped(conversation), wait=60.0))
    assert cancel(row) == "stopped"


# --- edit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.QUEUED, State.HELD])
def test_what_has_not_left_can_be_edited(conversation: Conversation, state: int) -> None:
    row = queue(conversation, "velho", state=state)
    assert edit(row) is True
    after = fresh(row)
    assert (after.state, after.message.content) == (state, "novo")
    assert after.fingerprint == fingerprint("text", text="novo")
    assert after.message.edited_at is not None
    assert passport(row) == ["edited_before_sending"]


@pytest.mark.parametrize("state", [State.SENDING, State.VERIFYING, *FINISHED])
def test_what_may_have_left_cannot(conversation: Conversation, state: int) -> None:
    row = queue(conversation, "velho", state=state)
    assert edit(row) is False
    after = fresh(row)
    assert (after.message.content, after.fingerprint) == ("velho", row.fingerprint)
    assert passport(row) == []


def test_old_attempts_keep_what_they_said(conversation: Conversation) -> None:
    row = held(conversation)
    edit(row)
    assert Attempt.objects.get().fingerprint == row.fingerprint
    send_anyway(row)
    age_attempts(100)
    assert stepped(conversation).content == "novo"
    assert [a.fingerprint for a in Attempt.objects.order_by("n")] == [row.fingerprint, fresh(row).fingerprint]


# --- held -----------------------------------------------------------------------------------------


def test_send_anyway_puts_it_back_and_remembers_the_doubt(conversation: Conversation) -> None:
    row = held(conversation)
    send_anyway(row)
    after = fresh(row)
    assert (after.state, after.maybe, after.reason, after.seq) == (State.QUEUED, True, "", row.seq)
    assert after.fence == row.fence + 1
    assert passport(row) == ["released"]


def test_send_anyway_still_waits_until_the_open_attempt_has_settled(conversation: Conversation) -> None:
    row = held(conversation)
    send_anyway(row)
    assert step_one(conversation) is None
    age_attempts(96)
    assert stepped(conversation).id == row.pk


def test_send_anyway_takes_back_an_earlier_cancel(conversation: Conversation) -> None:
    """Cancelled while unclear, held, and now wanted after all: a failed try must not end as cancelled."""
    row = queue(conversation)
    step = stepped(conversation)
    cancel(row)
    write(final(step, State.HELD, reason="evidence_missing"))
    send_anyway(row)
    age_attempts(96)
    due_now()
    write(not_sent(stepped(conversation)))
    assert fresh(row).state == State.QUEUED


def test_discard_ends_it_and_frees_the_lane(conversation: Conversation) -> None:
    row = held(conversation)
    follower = queue(conversation)
    discard(row)
    after = fresh(row)
    assert (after.state, after.reason) == (State.CANCELLED, "discarded_by_person")
    assert passport(row) == ["discarded"]
    assert step_one(conversation) is None, "the discarded one may still arrive: order"
    age_attempts(96)
    assert stepped(conversation).id == follower.pk


@pytest.mark.parametrize("verb", [send_anyway, discard])
@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.VERIFYING, *FINISHED])
def test_only_what_is_held_can_be_released(conversation: Conversation, verb: Verb, state: int) -> None:
    row = queue(conversation, state=state)
    with pytest.raises(Conflict):
        verb(row)
    assert fresh(row).state == state


# --- replay ---------------------------------------------------------------------------------------


def failed(conversation: Conversation) -> Delivery:
    row = queue(conversation)
    write(not_sent(stepped(conversation), State.FAILED))
    return fresh(row)


def test_a_replay_goes_to_the_end_of_its_lane(conversation: Conversation) -> None:
    row, follower = failed(conversation), queue(conversation)
    again = replay(row)
    assert (again.state, again.tries, again.attempts) == (State.QUEUED, 0, 1)
    assert again.seq > follower.seq
    assert again.fence == row.fence + 1
    assert stepped(conversation).id == follower.pk
    assert passport(row) == ["replayed"]


def test_a_replayed_attempt_gets_the_next_number(conversation: Conversation) -> None:
    row = failed(conversation)
    replay(row)
    assert stepped(conversation).attempts == 2
    assert fresh(row).tries == 1


def test_a_replay_of_another_failure_is_refused(conversation: Conversation) -> None:
    row = failed(conversation)
    with pytest.raises(Conflict):
        person.replay(row.message_id, row.tenant_id, failure_gen=0)
    person.replay(row.message_id, row.tenant_id, failure_gen=1)
    due_now()
    write(not_sent(stepped(conversation), State.FAILED))
    with pytest.raises(Conflict):
        person.replay(row.message_id, row.tenant_id, failure_gen=1)
    assert fresh(row).failure_gen == 3


def test_a_refused_replay_takes_no_number(conversation: Conversation) -> None:
    row = queue(conversation)
    with pytest.raises(Conflict):
        replay(row)
    assert Conversation.objects.get(pk=conversation.pk).next_seq == 1


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.VERIFYING, State.HELD, *FINISHED])
def test_only_what_failed_can_be_replayed(conversation: Conversation, state: int) -> None:
    if state == State.FAILED:
        return
    row = queue(conversation, state=state)
    with pytest.raises(Conflict):
        replay(row)
    assert (fresh(row).state, fresh(row).seq) == (state, row.seq)


def test_a_replay_keeps_the_ids_of_its_attempts_and_forgets_the_rejection(conversation: Conversation) -> None:
    from apps.chat.delivery.acks import record_ack

    row = queue(conversation)
    write(accepted(stepped(conversation), "3EB0X"))
    record_ack(row.instance, "3EB0X", None, True, None)
    again = replay(row)
    assert Attempt.objects.get().provider_id == "3EB0X"
    assert not Message.objects.get(pk=again.message_id).ack_error


def test_late_proof_of_an_old_attempt_ends_a_replay(conversation: Conversation) -> None:
    row = queue(conversation)
    step = stepped(conversation)
    write(not_sent(step, State.FAILED))
    replay(row)
    write(accepted(step))
    assert fresh(row).state == State.SENT
    assert step_one(conversation) is None


# --- saying so ------------------------------------------------------------------------------------


def entries() -> int:
    return int(redis_streams.get_stream_metrics()["send_message_stream"]["length"])


@pytest.mark.django_db(transaction=True)
def test_whatever_a_person_decides_wakes_the_lane(conversation: Conversation) -> None:
    row = held(conversation)
    send_anyway(row)
    assert entries() == 1
    cancel(row)
    assert entries() == 2
    other = failed(make_conversation())
    replay(other)
    assert entries() == 3


@pytest.mark.django_db(transaction=True)
def test_with_redis_away_the_rows_own_alarm_rings(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.chat.delivery import lane

    def away(*_: object) -> str:
        raise QueueAway("no Redis")

    monkeypatch.setattr(redis_streams, "enqueue_send_message", away)
    row, follower = queue_many(conversation, 2)
    cancel(row)
    assert [due.id for due in lane.sweep(10)] == [follower.pk]
