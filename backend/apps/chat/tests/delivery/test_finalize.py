"""T4 to T6, T10, T11: what a finalize writes. Evidence wins in any state; all else needs the fence of its step."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from apps.chat.delivery import lane
from apps.chat.delivery.evidence import bind_echo
from apps.chat.delivery.finalize import finalize
from apps.chat.models import Ack, Attempt, Conversation, Delivery, Message
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    claim,
    echo,
    final,
    make_conversation,
    make_instance,
    make_message,
    not_sent,
    queue,
    queue_many,
    step_one,
    stepped,
    unclear,
    write,
)

State, Closed, BoundBy = Delivery.State, Attempt.Closed, Attempt.BoundBy
pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation() -> Conversation:
    return make_conversation()


def row(pk: int) -> Delivery:
    return Delivery.objects.select_related("message").get(pk=pk)


def attempt(pk: int, n: int = 1) -> Attempt:
    return Attempt.objects.get(delivery_id=pk, n=n)


# --- evidence -------------------------------------------------------------------------------------


def test_an_accepted_send_is_sent_bound_and_acknowledged(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    assert write(accepted(step, "3EB01", http=201, bytes_left=True)) == {step.id: State.SENT}
    after, bound = row(step.id), attempt(step.id)
    assert (after.state, after.owner_id, after.finished_at is None) == (State.SENT, None, False)
    assert (bound.closed, bound.provider_id, bound.bound_by) == (Closed.ACCEPTED, "3EB01", BoundBy.ANSWER)
    assert (bound.http_status, bound.bytes_left, bound.closed_at is None) == (201, True, False)
    assert (after.message.provider_id, after.message.ack) == ("3EB01", Ack.SUBMITTED)
    assert after.message.sent_at is not None


@pytest.mark.parametrize(
    "state",
    [State.QUEUED, State.SENDING, State.VERIFYING, State.HELD, State.FAILED, State.CANCELLED],
)
def test_evidence_needs_no_fence_and_wins_in_any_state(conversation: Conversation, state: int) -> None:
    queue(conversation)
    step = stepped(conversation)
    Delivery.objects.filter(pk=step.id).update(state=state, fence=F("fence") + 5, cancel_requested=True)
    assert write(accepted(step)) == {step.id: State.SENT}


def test_evidence_of_an_earlier_attempt_counts(conversation: Conversation) -> None:
    queue(conversation)
    first = stepped(conversation)
    write(not_sent(first))
    second = stepped(conversation)
    assert write(accepted(first, "3EB0LATE")) == {first.id: State.SENT}
    assert attempt(first.id, 1).provider_id == "3EB0LATE"
    assert attempt(second.id, 2).closed is None


def test_evidence_twice_changes_nothing_more(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    write(accepted(step, "3EB01"))
    Message.objects.update(ack=Ack.SEEN)
    at = row(step.id).finished_at
    assert write(accepted(step, "3EB01")) == {}
    assert (row(step.id).finished_at, row(step.id).message.ack) == (at, Ack.SEEN)


def test_both_accepted_attempts_of_one_row_keep_their_ids(conversation: Conversation) -> None:
    queue(conversation)
    first = stepped(conversation)
    write(not_sent(first))
    second = stepped(conversation)
    write(accepted(first, "3EB01"))
    write(accepted(second, "3EB02"))
    assert [attempt(first.id, n).provider_id for n in (1, 2)] == ["3EB01", "3EB02"]


# --- negatives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [not_sent, unclear])
def test_negatives_need_the_fence_of_their_step(conversation: Conversation, make: object) -> None:
    queue(conversation)
    step = stepped(conversation)
    Delivery.objects.filter(pk=step.id).update(fence=F("fence") + 1)
    assert write(make(step)) == {}  # type: ignore[operator]
    assert row(step.id).state == State.SENDING
    assert attempt(step.id).closed is None


@pytest.mark.parametrize("state", [State.QUEUED, State.HELD, State.SENT, State.FAILED, State.CANCELLED])
def test_negatives_count_only_while_sending_or_verifying(conversation: Conversation, state: int) -> None:
    queue(conversation)
    step = stepped(conversation)
    Delivery.objects.filter(pk=step.id).update(state=state)
    assert write(not_sent(step, State.FAILED)) == {}
    assert row(step.id).state == state


def test_not_sent_is_queued_again_with_its_wait(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    assert write(not_sent(step, wait=30.0, http=429, bytes_left=False)) == {step.id: State.QUEUED}
    after, closed = row(step.id), attempt(step.id)
    assert (closed.closed, closed.reason, closed.http_status) == (Closed.NOT_SENT, "connect_failed", 429)
    assert (after.reason, after.owner_id, after.fence) == ("connect_failed", None, step.fence + 1)
    waits = after.wake_at - closed.step_at
    assert timedelta(seconds=29) < waits < timedelta(seconds=32)
    assert step_one(conversation) is None


def test_a_wait_never_puts_off_an_earlier_alarm(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    before = row(step.id).sweep_at
    write(not_sent(step, wait=300.0))
    assert row(step.id).sweep_at == before


def test_a_short_wait_brings_the_alarm_forward(conversation: Conversation) -> None:
    queue(conversation, sweep_at=Now() + timedelta(hours=1))
    step = stepped(conversation)
    write(not_sent(step, wait=2.0))
    after = row(step.id)
    assert abs(after.sweep_at - after.wake_at) < timedelta(milliseconds=50)


def test_an_unclear_one_keeps_its_attempt_open(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    assert write(unclear(step, http=504, bytes_left=True)) == {step.id: State.VERIFYING}
    kept = attempt(step.id)
    assert (kept.closed, kept.reason, kept.http_status) == (None, "read_timeout", 504)
    assert row(step.id).fence == step.fence + 1


def test_a_late_unclear_never_reopens_a_proven_attempt(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    write(accepted(step, "3EB01"))
    assert write(unclear(step)) == {}
    assert (attempt(step.id).closed, attempt(step.id).provider_id) == (Closed.ACCEPTED, "3EB01")


@pytest.mark.parametrize("make", [not_sent, unclear])
def test_a_refund_gives_the_try_back_but_not_the_attempts_number(
    conversation: Conversation, make: object
) -> None:
    queue(conversation)
    step = stepped(conversation)
    write(make(step, refund=1))  # type: ignore[operator]
    assert (row(step.id).tries, row(step.id).attempts) == (0, 1)


def test_tries_never_fall_below_zero(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    Delivery.objects.filter(pk=step.id).update(tries=0)
    write(not_sent(step, refund=1))
    assert row(step.id).tries == 0


def test_each_failure_has_its_own_number(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    done = finalize([not_sent(step, State.FAILED)])
    assert [(one.state, one.failure_gen, one.tries) for one in done] == [(State.FAILED, 1, 1)]
    assert row(step.id).finished_at is not None
    assert row(step.id).failure_gen == 1


def test_a_requested_cancel_ends_what_would_be_queued(conversation: Conversation) -> None:
    head, follower = queue_many(conversation, 2)
    step = stepped(conversation)
    Delivery.objects.filter(pk=head.pk).update(cancel_requested=True)
    assert write(not_sent(step)) == {head.pk: State.CANCELLED}
    assert row(head.pk).finished_at is not None
    assert stepped(conversation).id == follower.pk


def test_a_requested_cancel_does_not_end_a_verification(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    Delivery.objects.filter(pk=step.id).update(cancel_requested=True)
    assert write(unclear(step)) == {step.id: State.VERIFYING}
    looked = claim(step.id)
    assert looked is not None
    assert write(not_sent(looked)) == {step.id: State.CANCELLED}


def test_held_blocks_and_finishes_nothing(conversation: Conversation) -> None:
    head, _ = queue_many(conversation, 2)
    step = stepped(conversation)
    assert write(final(step, State.HELD, reason="evidence_missing")) == {head.pk: State.HELD}
    age_attempts(1000)
    assert row(head.pk).finished_at is None
    assert step_one(conversation) is None


# --- batches --------------------------------------------------------------------------------------


def steps_of(count: int) -> list[lane.Step]:
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(count)]
    for conversation in lanes:
        queue(conversation)
    return [row for row in lane.step([c.pk for c in lanes], 0) if isinstance(row, lane.Step)]


def test_a_batch_writes_each_row_its_own_end() -> None:
    one, two, three, four = steps_of(4)
    ended = write(
        accepted(one), not_sent(two, State.FAILED), unclear(three, wait=1.5), not_sent(four, wait=2.5)
    )
    assert ended == {
        one.id: State.SENT,
        two.id: State.FAILED,
        three.id: State.VERIFYING,
        four.id: State.QUEUED,
    }
    assert row(three.id).wake_at < row(four.id).wake_at


@pytest.mark.parametrize("evidence_first", [True, False])
def test_evidence_wins_over_a_negative_of_the_same_batch(evidence_first: bool) -> None:
    step, other = steps_of(2)
    both = [accepted(step, "3EB01"), not_sent(step, State.FAILED)]
    assert write(*(both if evidence_first else reversed(both)), not_sent(other)) == {
        step.id: State.SENT,
        other.id: State.QUEUED,
    }
    assert attempt(step.id).closed == Closed.ACCEPTED
    assert row(step.id).failure_gen == 0


def test_an_empty_batch_is_no_error() -> None:
    assert finalize([]) == []


def test_a_clash_does_not_fail_the_others_of_its_batch() -> None:
    one, two, three = steps_of(3)
    ended = write(accepted(one, "3EB0SAME"), accepted(two, "3EB0SAME"), accepted(three))
    assert ended == {one.id: State.SENT, two.id: State.HELD, three.id: State.SENT}
    assert row(two.id).reason == "provider_id_clash"
    assert attempt(two.id).provider_id is None


@pytest.mark.parametrize("bad", ["3EB0\x00", "x" * 200])
def test_an_id_that_cannot_be_stored_does_not_fail_the_others(bad: str) -> None:
    """Whatever came, it was a proof: the row is sent, or a person looks; it is never sent again."""
    one, two, three = steps_of(3)
    ended = write(not_sent(one), accepted(two, bad), accepted(three, "3EB03"))
    assert (ended[one.id], ended[three.id]) == (State.QUEUED, State.SENT)
    assert row(two.id).state in (State.SENT, State.HELD)


# --- clashes of provider ids ----------------------------------------------------------------------


def test_an_answer_outranks_a_match() -> None:
    """An echo was bound to the wrong attempt; the answer says whose it is."""
    wrong, right = steps_of(2)
    write(accepted(wrong, "3EB0X", bound_by=BoundBy.MATCH))
    assert write(accepted(right, "3EB0X")) == {right.id: State.SENT}
    loser = row(wrong.id)
    assert (loser.state, loser.reason, loser.finished_at) == (State.VERIFYING, "proof_withdrawn", None)
    assert (attempt(wrong.id).closed, attempt(wrong.id).provider_id) == (None, None)
    assert (loser.message.provider_id, loser.message.ack) == (None, Ack.NONE)
    assert (row(right.id).message.provider_id, attempt(right.id).bound_by) == ("3EB0X", BoundBy.ANSWER)


@pytest.mark.parametrize("bound_by", [BoundBy.ANSWER, BoundBy.MATCH])
def test_equal_right_is_for_a_person(bound_by: int) -> None:
    first, second = steps_of(2)
    write(accepted(first, "3EB0X", bound_by=bound_by))
    assert write(accepted(second, "3EB0X", bound_by=bound_by)) == {second.id: State.HELD}
    assert (row(second.id).reason, row(first.id).state) == ("provider_id_clash", State.SENT)
    assert attempt(second.id).closed is None


def test_a_match_that_loses_to_an_answer_says_nothing_of_its_row() -> None:
    """The id is somebody else's: this row is as unclear as before, and no person need look yet."""
    first, second = steps_of(2)
    write(accepted(first, "3EB0X"))
    write(unclear(second))
    held = claim(second.id)
    assert held is not None
    assert write(accepted(held, "3EB0X", bound_by=BoundBy.MATCH)) == {}
    assert row(second.id).state == State.VERIFYING
    assert row(first.id).state == State.SENT


def test_a_row_with_another_proof_stays_sent_when_one_is_withdrawn() -> None:
    """It was accepted twice; taking one proof away must not send it a third time."""
    loser, winner = steps_of(2)
    write(not_sent(loser))
    again = stepped(row(loser.id).conversation)
    write(accepted(again, "3EB0OWN"))
    write(accepted(loser, "3EB0X", bound_by=BoundBy.MATCH))
    write(accepted(winner, "3EB0X"))
    assert row(winner.id).state == State.SENT
    assert row(loser.id).state == State.SENT
    assert row(loser.id).message.provider_id == "3EB0OWN"


def test_a_stored_twin_turns_out_to_be_ours() -> None:
    """The echo came before anything could match it and was stored as typed elsewhere."""
    head = queue()
    step = stepped(head.conversation)
    twin = make_message(
        head.conversation, provider_id="3EB0X", origin=Message.Origin.OTHER, ack=Ack.DELIVERED
    )
    assert write(accepted(step, "3EB0X")) == {step.id: State.SENT}
    assert not Message.objects.filter(pk=twin.pk).exists()
    assert row(head.pk).message.provider_id == "3EB0X"
    assert row(head.pk).message.ack == Ack.DELIVERED


def test_an_echo_and_the_answer_of_the_same_attempt_do_not_clash() -> None:
    head = queue()
    step = stepped(head.conversation)
    bind_echo(head.instance, [head.conversation_id], echo(head, "3EB0X"))
    assert attempt(step.id).bound_by == BoundBy.MATCH
    assert write(accepted(step, "3EB0X")) == {}
    assert (attempt(step.id).bound_by, row(step.id).state) == (BoundBy.ANSWER, State.SENT)
