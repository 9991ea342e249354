"""What the model of the protocol (`make model`) found in the code, each as the shortest story that showed it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from apps.chat.delivery import acks, evidence, lane, person, resolver
from apps.chat.delivery.finalize import finalize
from apps.chat.delivery.resolver import Answer
from apps.chat.evolution.events import MessageEvent
from apps.chat.models import Ack, Conversation, Delivery
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    claim,
    due_now,
    echo,
    make_conversation,
    make_instance,
    make_message,
    make_worker,
    not_sent,
    queue,
    stepped,
    unclear,
    write,
)

State = Delivery.State
pytestmark = pytest.mark.django_db(transaction=True)

AGED = 120.0


def talked_before(**where: Any) -> Conversation:
    """A conversation with a message that surely went out: the canary."""
    conversation = make_conversation(**where)
    make_message(conversation, "canary", provider_id=f"CANARY{conversation.pk.hex}", ack=Ack.SEEN)
    return conversation


def look(delivery: Delivery, records: Sequence[MessageEvent] = (), *, canary: bool = True) -> None:
    """The resolver looks once, long after SETTLE."""
    age_attempts(AGED)
    due_now(pk=delivery.pk)
    step = claim(delivery)
    case = resolver.open_case(step)
    assert case is not None
    answer = Answer(True, canary, tuple(records))
    if resolver.bind_found(step, case, answer.records):
        return
    final = resolver.verdict(step, case, answer, evidence.has_ambiguous(step.id))
    if finalize([final]) and final.state != State.VERIFYING:
        resolver.note(step, final)


def earlier(event: MessageEvent, looks: int = 1) -> MessageEvent:
    """The event as it is after so many looks have aged everything."""
    assert event.timestamp is not None
    return replace(event, timestamp=event.timestamp - int(AGED) * looks)


def state(delivery: Delivery) -> str:
    return State(Delivery.objects.get(pk=delivery.pk).state).name


def test_a_cancel_never_says_stopped_of_what_is_proven_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = talked_before()
    head = queue(conversation, "oi")
    write(unclear(stepped(conversation)))
    proof = echo(head, "X")
    look(head, canary=False)
    person.release(head.message_id, head.tenant_id, send=True)
    real, once = person.transaction.atomic, []

    @contextmanager
    def atomic(*args: Any, **options: Any) -> Iterator[None]:
        with real(*args, **options):
            yield
        if not once:
            once.append(True)
            evidence.bind_echo(head.instance, [conversation.pk], earlier(proof))

    monkeypatch.setattr(person.transaction, "atomic", atomic)
    assert person.cancel(head.message_id, head.tenant_id) == "stopped_maybe"


def test_evidence_that_fits_two_conversations_keeps_both_from_being_called_absent() -> None:
    instance = make_instance()
    here, there = talked_before(instance=instance), talked_before(instance=instance)
    first, second = queue(here, "oi"), queue(there, "oi")
    write(unclear(stepped(here)))
    write(unclear(stepped(there)))
    either = replace(echo(second, "X"), alt_jids=(here.remote_jid,))
    places = evidence.conversations_of(instance, (either.remote_jid, *either.alt_jids))
    assert evidence.bind_echo(instance, places, either) is evidence.Bound.PARKED
    look(second, [earlier(either)])
    look(first, [earlier(either, 2)])
    assert (state(first), state(second)) == ("HELD", "HELD")


def test_an_edit_does_not_hide_evidence_of_the_old_words() -> None:
    instance = make_instance()
    here, there = talked_before(instance=instance), talked_before(instance=instance)
    head, other = queue(here, "oi"), queue(there, "oi")
    write(unclear(stepped(here)))
    write(unclear(stepped(there)))
    either = replace(echo(head, "X"), alt_jids=(there.remote_jid,))
    assert evidence.bind_echo(instance, [here.pk, there.pk], either) is evidence.Bound.PARKED
    look(head, [earlier(either)])
    person.edit(head.message_id, head.tenant_id, "bom dia")
    person.release(head.message_id, head.tenant_id, send=True)
    write(unclear(stepped(here)))
    look(head, [earlier(either, 2)])
    assert state(head) == "HELD"
    assert other.pk != head.pk


def test_a_doubt_outlives_a_hold() -> None:
    conversation = talked_before()
    head = queue(conversation, "oi")
    write(unclear(stepped(conversation), reason="failed_after_send"))
    look(head)
    person.release(head.message_id, head.tenant_id, send=True)
    write(not_sent(stepped(conversation)))
    write(unclear(stepped(conversation)))
    look(head)
    assert state(head) == "HELD"


def test_a_doubt_needs_no_fence() -> None:
    conversation = talked_before()
    head = queue(conversation, "oi")
    step = stepped(conversation, make_worker(stopped=True))
    lane.take_over()
    write(unclear(step, reason="failed_after_send"))
    look(head)
    assert state(head) == "HELD"


def test_what_was_cancelled_is_not_sent_when_its_proof_is_withdrawn() -> None:
    conversation = talked_before()
    other = make_conversation(conversation.instance)
    head = queue(conversation, "oi")
    write(unclear(stepped(conversation)))
    look(head, canary=False)
    person.release(head.message_id, head.tenant_id, send=False)
    queue(other, "oi")
    step = stepped(other)
    evidence.bind_echo(head.instance, [conversation.pk], earlier(echo(head, "X")))
    write(accepted(step, "X"))
    look(head)
    assert state(head) == "CANCELLED"


def test_a_rejection_leaves_a_later_open_try_to_be_verified() -> None:
    conversation = talked_before()
    head = queue(conversation, "oi")
    write(unclear(stepped(conversation)))
    look(head, canary=False)
    person.release(head.message_id, head.tenant_id, send=True)
    second = stepped(conversation)
    evidence.bind_echo(head.instance, [conversation.pk], earlier(echo(head, "X")))
    acks.record_ack(head.instance, "X", None, True, None)
    write(unclear(second))
    assert state(head) == "VERIFYING"
