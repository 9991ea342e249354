"""T9 and T17: what Evolution says by itself is bound to exactly one attempt, or parked; acks only ever rise."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models import F

from apps.chat.delivery import acks, evidence
from apps.chat.delivery.acks import record_ack
from apps.chat.delivery.evidence import Bound, bind_echo
from apps.chat.delivery.finalize import finalize
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.models import Ack, Attempt, Conversation, Delivery, Evidence, Message
from apps.chat.tests.delivery.threads import at_once
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    claim,
    due_now,
    echo,
    make_conversation,
    make_instance,
    make_message,
    not_sent,
    queue,
    step_one,
    stepped,
    unclear,
    write,
)

State, Closed = Delivery.State, Attempt.Closed
pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation() -> Conversation:
    return make_conversation()


def row(pk: int) -> Delivery:
    return Delivery.objects.select_related("message").get(pk=pk)


def bind(delivery: Delivery, event: object) -> Bound:
    return bind_echo(delivery.instance, [delivery.conversation_id], event)  # type: ignore[arg-type]


# --- exactly one, or parked -----------------------------------------------------------------------


def test_an_echo_proves_the_one_attempt_it_can_be(conversation: Conversation) -> None:
    head = queue(conversation)
    step = stepped(conversation)
    write(unclear(step))
    assert bind(head, echo(head, "3EB0X")) is Bound.ATTEMPT
    assert (row(head.pk).state, row(head.pk).message.provider_id) == (State.SENT, "3EB0X")
    attempt = Attempt.objects.get()
    assert (attempt.closed, attempt.provider_id, attempt.bound_by) == (
        Closed.ACCEPTED,
        "3EB0X",
        Attempt.BoundBy.MATCH,
    )


def test_the_same_echo_again_changes_nothing(conversation: Conversation) -> None:
    head = queue(conversation)
    stepped(conversation)
    for _ in range(2):
        assert bind(head, echo(head, "3EB0X")) is Bound.ATTEMPT
    assert not Evidence.objects.exists()


@pytest.mark.parametrize("state", [State.QUEUED, State.HELD, State.FAILED, State.CANCELLED])
def test_an_echo_wins_in_any_state(conversation: Conversation, state: int) -> None:
    head = queue(conversation)
    stepped(conversation)
    Delivery.objects.filter(pk=head.pk).update(state=state)
    assert bind(head, echo(head)) is Bound.ATTEMPT
    assert row(head.pk).state == State.SENT


def test_an_open_attempt_comes_before_one_known_as_not_sent(conversation: Conversation) -> None:
    head = queue(conversation)
    write(not_sent(stepped(conversation)))
    stepped(conversation)
    assert bind(head, echo(head, "3EB0X")) is Bound.ATTEMPT
    assert Attempt.objects.get(provider_id="3EB0X").n == 2


def test_an_attempt_known_as_not_sent_can_still_be_proven(conversation: Conversation) -> None:
    head = queue(conversation)
    write(not_sent(stepped(conversation), State.FAILED))
    assert bind(head, echo(head)) is Bound.ATTEMPT
    assert row(head.pk).state == State.SENT


def test_two_attempts_it_could_be_park_it(conversation: Conversation) -> None:
    """The same text to one customer, twice, both unclear: nobody guesses."""
    rows = []
    for _ in range(2):
        rows.append(queue(conversation, "bom dia"))
        stepped(conversation)
        Delivery.objects.filter(pk=rows[-1].pk).update(state=State.CANCELLED)
        age_attempts(50)
        Attempt.objects.update(closed=Closed.NOT_SENT)
    assert bind(rows[0], echo(rows[0], "3EB0X")) is Bound.PARKED
    parked = Evidence.objects.get()
    assert (parked.provider_id, parked.fingerprint) == ("3EB0X", rows[0].fingerprint)
    assert {row(one.pk).state for one in rows} == {State.CANCELLED}


def test_another_text_another_lane_and_another_instance_are_not_taken(conversation: Conversation) -> None:
    head = queue(conversation, "um")
    stepped(conversation)
    other = queue(make_conversation(conversation.instance), "um")
    elsewhere = queue(text="um")
    assert bind(head, echo(head, text="dois")) is Bound.FOREIGN
    assert bind(other, echo(other)) is Bound.FOREIGN
    assert bind(elsewhere, echo(elsewhere)) is Bound.FOREIGN
    assert row(head.pk).state == State.SENDING


@pytest.mark.parametrize(("age", "bound"), [(0, True), (90, True), (110, False), (-30, False)])
def test_only_attempts_whose_window_holds_whatsapps_time(
    conversation: Conversation, age: int, bound: bool
) -> None:
    head = queue(conversation)
    stepped(conversation)
    age_attempts(age)
    assert bind(head, echo(head)) is (Bound.ATTEMPT if bound else Bound.FOREIGN)


def test_what_was_typed_on_the_phone_is_not_ours(conversation: Conversation) -> None:
    head = queue(conversation)
    stepped(conversation)
    assert bind(head, echo(head, from_phone=True)) is Bound.FOREIGN
    assert bind(head, echo(head, from_me=False)) is Bound.FOREIGN
    assert row(head.pk).state == State.SENDING


def test_a_bound_attempt_is_no_candidate(conversation: Conversation) -> None:
    head = queue(conversation)
    write(accepted(stepped(conversation), "3EB0A"))
    assert bind(head, echo(head, "3EB0B")) is Bound.FOREIGN
    assert Attempt.objects.get().provider_id == "3EB0A"


def test_an_unknown_lid_that_says_what_we_said_is_parked(conversation: Conversation) -> None:
    head = queue(conversation)
    stepped(conversation)
    event = echo(head, remote_jid="123456789012345@lid")
    assert bind_echo(head.instance, [], event) is Bound.PARKED
    assert bind_echo(head.instance, [], replace(event, key_id="3EB0Y", text="outra")) is Bound.FOREIGN


def test_evidence_frees_the_lane(conversation: Conversation) -> None:
    head, follower = queue(conversation), queue(conversation)
    write(unclear(stepped(conversation)))
    assert step_one(conversation) is None
    bind(head, echo(head))
    assert stepped(conversation).id == follower.pk


def test_evidence_of_an_edited_message_matches_what_was_sent(conversation: Conversation) -> None:
    """Attempts keep their fingerprint: the echo says the old words."""
    head = queue(conversation, "velho")
    write(unclear(stepped(conversation)))
    Delivery.objects.filter(pk=head.pk).update(state=State.HELD, fingerprint=fingerprint("text", text="novo"))
    assert bind(head, echo(head, text="velho")) is Bound.ATTEMPT


# --- what is ambiguous ----------------------------------------------------------------------------


def park(delivery: Delivery, provider_id: str = "3EB0P", ahead: float = 0, **values: object) -> None:
    at = Attempt.objects.get(delivery=delivery).step_at + timedelta(seconds=ahead)
    given = {"conversation_id": delivery.conversation_id, "fingerprint": delivery.fingerprint, **values}
    Evidence.objects.create(
        instance=delivery.instance, provider_id=provider_id, **{"provider_time": at, **given}
    )


def test_parked_evidence_with_our_words_is_ambiguous(conversation: Conversation) -> None:
    head = queue(conversation)
    write(unclear(stepped(conversation)))
    assert not evidence.has_ambiguous(head.pk)
    park(head, fingerprint="something else")
    assert not evidence.has_ambiguous(head.pk)
    park(head, "3EB0Q", conversation_id=None)
    assert evidence.has_ambiguous(head.pk)


def test_parked_evidence_without_a_time_is_ambiguous(conversation: Conversation) -> None:
    head = queue(conversation)
    write(unclear(stepped(conversation)))
    park(head, provider_time=None)
    assert evidence.has_ambiguous(head.pk)


def test_what_was_parked_before_our_first_step_cannot_be_ours(conversation: Conversation) -> None:
    """Else one parked "bom dia" would hold every later one for a person."""
    head = queue(conversation)
    write(unclear(stepped(conversation)))
    park(head, ahead=-60)
    assert not evidence.has_ambiguous(head.pk)
    park(head, "3EB0Q", ahead=-3)
    assert evidence.has_ambiguous(head.pk)


def test_what_turned_out_to_be_anothers_is_not_ambiguous(conversation: Conversation) -> None:
    head = queue(conversation)
    write(unclear(stepped(conversation)))
    park(head)
    other = make_conversation(conversation.instance)
    queue(other)
    write(accepted(stepped(other), "3EB0P"))
    assert not evidence.has_ambiguous(head.pk)


# --- acks -----------------------------------------------------------------------------------------


@pytest.fixture
def sent(conversation: Conversation) -> Delivery:
    head = queue(conversation)
    write(accepted(stepped(conversation), "3EB0X"))
    return head


def test_acks_only_rise(sent: Delivery) -> None:
    for rank in (Ack.DELIVERED, Ack.SENT, Ack.SEEN, Ack.DELIVERED, Ack.SUBMITTED):
        record_ack(sent.instance, "3EB0X", rank, False, None)
    message = row(sent.pk).message
    assert message.ack == Ack.SEEN
    assert message.delivered_at is not None and message.seen_at is not None
    assert message.delivered_at <= message.seen_at


def test_an_ack_that_comes_before_its_id_is_known_waits(conversation: Conversation) -> None:
    """Webhooks before the HTTP answer, and no echo: the answer alone must find what waits."""
    head = queue(conversation)
    step = stepped(conversation)
    assert record_ack(head.instance, "3EB0X", Ack.SENT, False, None) is None
    record_ack(head.instance, "3EB0X", Ack.DELIVERED, False, None)
    record_ack(head.instance, "3EB0X", Ack.SENT, False, None)
    assert Evidence.objects.get().ack == Ack.DELIVERED
    write(accepted(step, "3EB0X"))
    assert row(head.pk).message.ack == Ack.DELIVERED
    assert not Evidence.objects.exists()


def test_an_ack_that_comes_before_the_echo_waits(conversation: Conversation) -> None:
    head = queue(conversation)
    stepped(conversation)
    record_ack(head.instance, "3EB0X", Ack.DELIVERED, False, None)
    bind(head, echo(head, "3EB0X"))
    assert row(head.pk).message.ack == Ack.DELIVERED
    assert not Evidence.objects.exists()


def test_the_ack_an_echo_bears_is_taken(conversation: Conversation) -> None:
    head = queue(conversation)
    stepped(conversation)
    bind(head, echo(head, "3EB0X", status=Ack.SENT))
    assert row(head.pk).message.ack == Ack.SENT


@pytest.mark.django_db(transaction=True)
def test_an_ack_and_the_answer_at_once_always_meet() -> None:
    instance = make_instance()
    for n in range(8):
        head = queue(make_conversation(instance))
        step = stepped(head.conversation)
        at_once(
            [
                lambda step=step, n=n: write(accepted(step, f"3EB0{n}")),
                lambda n=n: record_ack(instance, f"3EB0{n}", Ack.DELIVERED, False, None),
                lambda n=n: record_ack(instance, f"3EB0{n}", Ack.SEEN, False, None),
            ]
        )
        assert row(head.pk).message.ack == Ack.SEEN
    assert not Evidence.objects.exists()


def test_a_rejection_fails_what_was_sent(sent: Delivery) -> None:
    record_ack(sent.instance, "3EB0X", None, True, None)
    after = row(sent.pk)
    assert (after.state, after.reason, after.failure_gen) == (State.FAILED, "rejected_by_whatsapp", 1)
    assert after.message.ack_error
    assert Attempt.objects.get().closed == Closed.ERROR


def test_a_rejection_counts_once(sent: Delivery) -> None:
    for _ in range(3):
        record_ack(sent.instance, "3EB0X", None, True, None)
    assert row(sent.pk).failure_gen == 1


def test_a_rejection_of_what_was_delivered_is_not_believed(sent: Delivery) -> None:
    record_ack(sent.instance, "3EB0X", Ack.DELIVERED, False, None)
    record_ack(sent.instance, "3EB0X", None, True, None)
    assert row(sent.pk).state == State.SENT
    assert not row(sent.pk).message.ack_error


def sent_twice(conversation: Conversation) -> Delivery:
    head = queue(conversation)
    first = stepped(conversation)
    write(not_sent(first))
    second = stepped(conversation)
    write(accepted(first, "3EB01"), accepted(second, "3EB02"))
    write(accepted(second, "3EB02"))
    return head


@pytest.mark.parametrize("which", ["3EB01", "3EB02"])
def test_a_rejection_of_one_of_two_accepted_attempts_fails_nothing(
    conversation: Conversation, which: str
) -> None:
    head = sent_twice(conversation)
    record_ack(head.instance, which, None, True, None)
    assert row(head.pk).state == State.SENT
    assert not row(head.pk).message.ack_error
    assert Attempt.objects.get(provider_id=which).closed == Closed.ERROR


@pytest.mark.parametrize("order", [("3EB01", "3EB02"), ("3EB02", "3EB01")])
def test_a_rejection_of_both_accepted_attempts_fails_it(
    conversation: Conversation, order: tuple[str, str]
) -> None:
    head = sent_twice(conversation)
    for which in order:
        record_ack(head.instance, which, None, True, None)
    assert row(head.pk).state == State.FAILED
    assert not Evidence.objects.exists()


@pytest.mark.parametrize("which", ["3EB01", "3EB02"])
def test_an_ack_of_either_accepted_attempt_counts(conversation: Conversation, which: str) -> None:
    head = sent_twice(conversation)
    record_ack(head.instance, which, Ack.DELIVERED, False, None)
    assert row(head.pk).message.ack == Ack.DELIVERED


def test_a_rejection_before_the_answer_ends_like_one_after_it(conversation: Conversation) -> None:
    """Echo, ack ERROR, and only then the answer of the POST: the same row, the same end."""
    head = queue(conversation)
    step = stepped(conversation)
    bind(head, echo(head, "3EB0X"))
    record_ack(head.instance, "3EB0X", None, True, None)
    write(accepted(step, "3EB0X"))
    assert (row(head.pk).state, row(head.pk).failure_gen) == (State.FAILED, 1)
    assert Attempt.objects.get().closed == Closed.ERROR


def test_a_rejection_that_waited_for_the_answer_fails_it(conversation: Conversation) -> None:
    head = queue(conversation)
    step = stepped(conversation)
    record_ack(head.instance, "3EB0X", None, True, None)
    write(accepted(step, "3EB0X"))
    assert row(head.pk).state == State.FAILED


def test_a_rejected_attempt_can_be_followed_by_an_accepted_one(conversation: Conversation) -> None:
    head = queue(conversation)
    write(accepted(stepped(conversation), "3EB01"))
    record_ack(head.instance, "3EB01", None, True, None)
    Delivery.objects.filter(pk=head.pk).update(state=State.QUEUED, seq=F("seq") + 10)
    due_now()
    write(accepted(stepped(conversation), "3EB02"))
    after = row(head.pk)
    assert (after.state, after.message.ack_error, after.message.provider_id) == (State.SENT, False, "3EB02")


def test_an_id_nobody_knows_is_kept(conversation: Conversation) -> None:
    assert record_ack(conversation.instance, "3EB0NOBODY", Ack.SEEN, False, None) is None
    make_message(conversation, provider_id="3EB0NOBODY")
    assert [m.ack for m in acks.attach_parked_acks(conversation.instance_id, ["3EB0NOBODY"])] == [Ack.SEEN]
    assert Message.objects.get().ack == Ack.SEEN


def test_a_claim_loses_to_evidence_that_came_meanwhile(conversation: Conversation) -> None:
    """findMessages asked early, decided late: the echo came in between."""
    head = queue(conversation)
    write(unclear(stepped(conversation)))
    looked = claim(head)
    assert looked is not None
    bind(head, echo(head))
    assert finalize([not_sent(looked)]) == []
    assert row(head.pk).state == State.SENT
