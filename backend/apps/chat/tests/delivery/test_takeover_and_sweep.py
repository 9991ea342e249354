"""T7, T8, T18: rows of dead workers, rows due for the resolver, and the sweeper's alarms."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.chat.delivery import lane, person
from apps.chat.models import Conversation, Delivery, Worker
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    claim,
    due_now,
    make_conversation,
    make_instance,
    make_worker,
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


def row(pk: int) -> Delivery:
    return Delivery.objects.get(pk=pk)


def seconds_ahead(pk: int, field: str) -> float:
    """To a hundredth: SQLite rounds times to milliseconds."""
    at: float = getattr(row(pk), field).timestamp()
    return round(at - lane.database_seconds(), 2)


@pytest.fixture
def conversation() -> Conversation:
    return make_conversation()


# --- takeover -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silent_for", "stopped", "taken"),
    [(0, False, False), (8, False, False), (12, False, True), (0, True, True), (3000, False, True)],
)
def test_only_rows_of_dead_workers_are_taken_over(silent_for: float, stopped: bool, taken: bool) -> None:
    head = queue()
    step = stepped(head.conversation, make_worker(silent_for=silent_for, stopped=stopped))
    assert lane.take_over() == ([head.pk] if taken else [])
    after = row(head.pk)
    assert after.state == (State.VERIFYING if taken else State.SENDING)
    assert after.fence == step.fence + taken


def test_a_row_taken_over_is_due_at_once_and_its_old_owner_powerless(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation, make_worker(stopped=True))
    lane.take_over()
    after = row(step.id)
    assert (after.owner_id, after.reason, after.checks) == (None, "worker_lost", 0)
    assert write(not_sent(step)) == {}
    assert write(unclear(step)) == {}
    assert [due.id for due in lane.sweep(10)] == [step.id]
    assert claim(step.id) is not None
    assert write(accepted(step)) == {step.id: State.SENT}


def test_a_takeover_looks_only_at_what_is_being_sent(conversation: Conversation) -> None:
    instance, dead = make_instance(), make_worker(stopped=True)
    states = (State.QUEUED, State.VERIFYING, State.HELD, State.SENT, State.FAILED)
    for state in states:
        place = make_conversation(instance)
        queue(place)
        Delivery.objects.filter(pk=stepped(place, dead).id).update(state=state)
    assert lane.take_over() == []
    assert sorted(Delivery.objects.values_list("state", flat=True)) == sorted(states)


def test_an_old_attempt_of_a_dead_worker_does_not_take_the_row_from_a_living_one() -> None:
    """The row was unclear in the dead worker's hands, was released, and is now sent by a living one."""
    head = queue()
    first = stepped(head.conversation, make_worker(stopped=True))
    Delivery.objects.filter(pk=first.id).update(state=State.QUEUED)
    age_attempts(100)
    due_now()
    stepped(head.conversation, make_worker())
    assert lane.take_over() == []


def test_a_takeover_can_be_repeated() -> None:
    dead = make_worker(stopped=True)
    heads = [queue() for _ in range(3)]
    for head in heads:
        stepped(head.conversation, dead)
    assert sorted(lane.take_over()) == [head.pk for head in heads]
    assert lane.take_over() == []


# --- the resolver's claim -------------------------------------------------------------------------


def test_a_claim_takes_what_is_due_and_counts_the_looks(conversation: Conversation) -> None:
    worker = make_worker()
    queue(conversation)
    step = stepped(conversation)
    write(unclear(step))
    looked = claim(step.id, worker.pk)
    assert looked is not None
    assert (looked.fence, looked.checks, looked.attempts) == (step.fence + 2, 1, 1)
    assert row(step.id).owner_id == worker.pk
    assert 25 < seconds_ahead(step.id, "wake_at") <= 30
    assert claim(step.id) is None
    due_now(pk=step.id)
    again = claim(step.id)
    assert again is not None and again.checks == 2


def test_a_send_whose_lease_is_over_is_claimed(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    assert claim(step.id) is None
    due_now(pk=step.id)
    looked = claim(step.id)
    assert looked is not None
    assert (row(step.id).state, looked.checks) == (State.VERIFYING, 1)
    assert write(not_sent(step)) == {}


@pytest.mark.parametrize("state", [State.QUEUED, State.HELD, State.SENT, State.FAILED, State.CANCELLED])
def test_nothing_else_can_be_claimed(conversation: Conversation, state: int) -> None:
    head = queue(conversation, state=state)
    due_now()
    assert claim(head) is None


def test_a_row_not_yet_due_is_not_claimed(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    write(unclear(step, wait=20.0))
    assert claim(step.id) is None


# --- the sweeper's alarms -------------------------------------------------------------------------


def test_a_held_head_is_looked_at_seldom_until_somebody_decides(conversation: Conversation) -> None:
    head = queue(conversation, state=State.HELD)
    due_now()
    lane.sweep(10)
    assert 290 < seconds_ahead(head.pk, "sweep_at") <= 300
    person.release(head.message_id, head.tenant_id, send=True)
    assert seconds_ahead(head.pk, "sweep_at") <= 0


def test_a_due_head_is_found_once_and_its_alarm_set_anew(conversation: Conversation) -> None:
    head = queue(conversation)
    assert lane.sweep(10) == []
    due_now()
    assert [(due.id, due.conversation_id, due.instance_id, due.state) for due in lane.sweep(10)] == [
        (head.pk, conversation.pk, conversation.instance_id, State.QUEUED)
    ]
    assert lane.sweep(10) == []
    assert 14 < seconds_ahead(head.pk, "sweep_at") <= 15


def test_the_sweeper_never_moves_when_a_row_may_be_stepped(conversation: Conversation) -> None:
    head = queue(conversation)
    due_now()
    before = row(head.pk).wake_at
    lane.sweep(10)
    assert row(head.pk).wake_at == before


def test_an_alarm_that_rings_too_early_waits_for_the_row(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    write(not_sent(step, wait=40.0))
    Delivery.objects.update(sweep_at=Now() - timedelta(seconds=1))
    assert lane.sweep(10) == []
    assert row(step.id).sweep_at == row(step.id).wake_at


def test_a_row_behind_its_head_is_looked_at_rarely(conversation: Conversation) -> None:
    head, follower = queue_many(conversation, 2)
    due_now()
    lane.sweep(10)
    assert seconds_ahead(head.pk, "sweep_at") < 15.1
    assert 290 < seconds_ahead(follower.pk, "sweep_at") < 300.1


def test_the_longest_due_come_first_and_no_more_than_asked_for() -> None:
    instance = make_instance()
    rows = [queue(make_conversation(instance)) for _ in range(4)]
    for age, one in enumerate(rows):
        Delivery.objects.filter(pk=one.pk).update(sweep_at=Now() - timedelta(seconds=10 + age))
    assert {due.id for due in lane.sweep(2)} == {rows[3].pk, rows[2].pk}
    assert {due.id for due in lane.sweep(2)} == {rows[1].pk, rows[0].pk}


def test_what_is_finished_rings_no_alarm(conversation: Conversation) -> None:
    for state in (State.SENT, State.FAILED, State.CANCELLED):
        queue(conversation, state=state)
    due_now()
    assert lane.sweep(10) == []


def test_a_send_in_hand_is_found_when_its_lease_is_over(conversation: Conversation) -> None:
    queue(conversation)
    step = stepped(conversation)
    Delivery.objects.update(sweep_at=Now() - timedelta(seconds=1))
    assert lane.sweep(10) == []
    assert 110 < seconds_ahead(step.id, "sweep_at") <= 120
    due_now()
    assert [due.state for due in lane.sweep(10)] == [State.SENDING]


def test_waking_an_instance_rings_its_heads_only() -> None:
    instance, other = make_instance(), make_instance()
    here, there = make_conversation(instance), make_conversation(other)
    head, follower = queue_many(here, 2)
    stranger = queue(there)
    lane.wake_instance(instance.pk)
    assert [due.id for due in lane.sweep(10)] == [head.pk]
    assert seconds_ahead(follower.pk, "sweep_at") > 5
    assert seconds_ahead(stranger.pk, "sweep_at") > 5


def test_ringing_a_lane_rings_its_head(conversation: Conversation) -> None:
    head, _ = queue_many(conversation, 2)
    other = queue()
    lane.ring(conversation.pk)
    assert [due.id for due in lane.sweep(10)] == [head.pk]
    assert seconds_ahead(other.pk, "sweep_at") > 5


def test_the_clock_is_the_databases() -> None:
    worker = make_worker()
    at = Worker.objects.get(pk=worker.pk).beat_at.timestamp()
    assert abs(lane.database_seconds() - at) < 5


def test_what_waited_behind_a_dead_workers_finished_head_is_looked_at_at_once() -> None:
    conversation = make_conversation()
    _, behind = queue(conversation), queue(conversation)
    dying = make_worker()
    step = step_one(conversation, dying)
    assert step is not None
    write(accepted(step))
    Delivery.objects.filter(pk=behind.pk).update(sweep_at=Now() + timedelta(minutes=5))
    Worker.objects.filter(pk=dying.pk).update(beat_at=Now() - timedelta(hours=1))
    lane.take_over()
    assert [due.id for due in lane.sweep(10)] == [behind.pk]
    assert Worker.objects.get(pk=dying.pk).stopped, "a death is looked after once"
