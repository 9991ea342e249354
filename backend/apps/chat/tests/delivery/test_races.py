"""Lanes under concurrency, each worker on its own connection: order, no double claim, no lost lane, no deadlock."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from apps.chat.delivery import lane, person
from apps.chat.delivery.enqueue import next_seq
from apps.chat.delivery.finalize import finalize
from apps.chat.delivery.lane import Busy, Step
from apps.chat.errors import Conflict
from apps.chat.models import Attempt, Conversation, Delivery
from apps.chat.tests.delivery.threads import at_once, in_thread, outcome
from apps.chat.tests.factories import (
    accepted,
    due_now,
    make_conversation,
    make_instance,
    make_message,
    make_worker,
    not_sent,
    queue,
    queue_many,
    stepped,
    unclear,
    write,
)

State = Delivery.State
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seed() -> int:
    """TEST_SEED repeats a run."""
    value = int(os.environ.get("TEST_SEED") or random.randrange(2**32))
    print(f"TEST_SEED={value}")
    return value


# --- seq ------------------------------------------------------------------------------------------


def test_a_number_needs_a_transaction() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        next_seq(make_conversation().pk)


def test_a_lane_that_does_not_exist_has_no_numbers() -> None:
    with pytest.raises(Conversation.DoesNotExist), transaction.atomic():
        next_seq(make_message(make_conversation()).pk)


def test_numbers_follow_commit_order() -> None:
    """A second writer waits for the first one's commit: whoever sees 2 sees 1."""
    conversation = make_conversation()
    taken = threading.Event()

    def first() -> int:
        with transaction.atomic():
            delivery = queue(conversation)
            taken.set()
            time.sleep(0.1)
        return delivery.seq

    def second() -> tuple[int, list[int]]:
        taken.wait(10)
        with transaction.atomic():
            seq = next_seq(conversation.pk)
            return seq, list(Delivery.objects.values_list("seq", flat=True))

    assert at_once([first, second]) == [1, (2, [1])]


def test_concurrent_senders_of_one_lane_get_each_their_place() -> None:
    conversation = make_conversation()

    def send() -> list[int]:
        return [queue(conversation).seq for _ in range(8)]

    given = at_once([send] * 4)
    assert sorted(seq for mine in given for seq in mine) == list(range(1, 33))
    assert all(mine == sorted(mine) for mine in given)


# --- who gets the head ----------------------------------------------------------------------------


def test_of_many_workers_one_gets_the_head() -> None:
    conversation = make_conversation()
    heads = queue_many(conversation, 3)

    def take() -> list[Step]:
        return [row for row in lane.step([conversation.pk], 1) if isinstance(row, Step)]

    got = [step.id for steps in at_once([take] * 6) for step in steps]
    assert got == [heads[0].pk]
    assert Attempt.objects.count() == 1


def test_of_a_step_and_a_cancel_one_wins() -> None:
    for _ in range(8):
        head = queue()
        answers = at_once(
            [
                outcome(lambda head=head: lane.step([head.conversation_id], 1)),
                outcome(lambda head=head: person.cancel(head.message_id, head.tenant_id)),
            ]
        )
        head.refresh_from_db()
        stopped = answers[1] == "stopped"
        assert head.state == (State.CANCELLED if stopped else State.SENDING)
        assert head.cancel_requested, "whatever the order, the wish is known to whoever comes later"
        assert Attempt.objects.filter(delivery=head).count() == (0 if stopped else 1)


def test_a_replay_pressed_twice_at_once_sends_once() -> None:
    for _ in range(5):
        conversation = make_conversation()
        head, follower = queue_many(conversation, 2)
        write(not_sent(stepped(conversation), State.FAILED))
        press = outcome(lambda head=head: person.replay(head.message_id, head.tenant_id, 1).pk)
        answers = at_once([press] * 3)
        assert answers.count(head.pk) == 1
        assert sum(isinstance(answer, Conflict) for answer in answers) == 2
        head.refresh_from_db()
        assert (head.state, head.failure_gen) == (State.QUEUED, 2)
        assert head.seq > follower.seq


def test_an_edit_is_sent_whole_or_not_at_all() -> None:
    """What the attempt's fingerprint says is what the step was told to send, whoever came first."""
    from apps.chat.evolution.fingerprint import fingerprint

    for _ in range(8):
        head = queue(text="antes")
        steps, edited = at_once(
            [
                lambda head=head: lane.step([head.conversation_id], 1),
                lambda head=head: person.edit(head.message_id, head.tenant_id, "depois"),
            ]
        )
        if not steps or isinstance(steps[0], Busy):
            steps = lane.step([head.conversation_id], 1)
        step = steps[0]
        assert isinstance(step, Step)
        assert edited == (step.content == "depois")
        attempt = Attempt.objects.get(delivery=head)
        assert attempt.fingerprint == fingerprint("text", text=step.content)


def test_of_a_takeover_and_the_owners_no_one_wins() -> None:
    for _ in range(6):
        head = queue()
        step = stepped(head.conversation, make_worker(stopped=True))
        taken, written = at_once([lane.take_over, lambda step=step: write(not_sent(step))])
        assert bool(taken) != bool(written)
        head.refresh_from_db()
        assert head.state == (State.VERIFYING if taken else State.QUEUED)


def test_of_two_resolvers_one_gets_the_row() -> None:
    heads = [queue() for _ in range(6)]
    for head in heads:
        write(unclear(stepped(head.conversation)))
    ids = [head.pk for head in heads]
    claims = at_once([lambda: [step.id for step in lane.claim_verifying(ids, 1, 30.0)]] * 3)
    assert sorted(pk for mine in claims for pk in mine) == ids


def test_two_answers_with_one_id_at_once_give_it_to_one() -> None:
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(2)]
    for conversation in lanes:
        queue(conversation)
    one, two = (stepped(conversation) for conversation in lanes)
    at_once([lambda: write(accepted(one, "3EB0X")), lambda: write(accepted(two, "3EB0X"))])
    assert Attempt.objects.filter(provider_id="3EB0X").count() == 1
    assert sorted(Delivery.objects.values_list("state", flat=True)) == [State.HELD, State.SENT]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_batches_that_share_rows_in_any_order_do_not_deadlock() -> None:
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(12)]
    for conversation in lanes:
        queue(conversation)
    steps = [row for row in lane.step([c.pk for c in lanes], 1) if isinstance(row, Step)]

    def finalize_one(number: int) -> None:
        mine = list(steps)
        random.Random(number).shuffle(mine)
        write(*(accepted(step, f"3EB0{step.id}") for step in mine))

    at_once([lambda n=n: finalize_one(n) for n in range(4)])
    assert set(Delivery.objects.values_list("state", flat=True)) == {State.SENT}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_a_rejection_and_a_finalize_of_one_row_do_not_deadlock(eventually: Callable[..., None]) -> None:
    """Both touch the delivery and its message: whoever takes them in the other order waits for ever."""
    from apps.chat.delivery.acks import record_ack
    from apps.chat.models import Message

    head = queue()
    write(accepted(stepped(head.conversation), "3EB0X"))

    def finalizing() -> None:
        with transaction.atomic():
            Delivery.objects.select_for_update(no_key=True).get(pk=head.pk)
            asked.set()
            eventually(somebody_waits, what="the rejection's wait")
            Message.objects.filter(pk=head.message_id).update(ack_error=False)

    def rejecting() -> None:
        asked.wait(10)
        record_ack(head.instance, "3EB0X", None, True, None)

    asked = threading.Event()
    at_once([finalizing, rejecting])
    head.refresh_from_db()
    assert head.state == State.FAILED


def test_a_no_that_comes_too_late_closes_no_attempt() -> None:
    """The row moved on, so that its step's "not sent" is not recorded: neither may the attempt be told so."""
    head, other = queue(), queue()
    late, timely = stepped(head.conversation), stepped(other.conversation)
    write(unclear(late))
    write(not_sent(late), not_sent(timely))
    head.refresh_from_db()
    assert head.state == State.VERIFYING
    closed = dict(Attempt.objects.values_list("delivery_id", "closed"))
    assert closed == {head.pk: None, other.pk: Attempt.Closed.NOT_SENT}


def test_doubt_that_comes_too_late_is_remembered() -> None:
    head = queue()
    late = stepped(head.conversation)
    write(unclear(late))
    write(unclear(late, reason="failed_after_send"))
    assert Attempt.objects.get(delivery=head).reason == "failed_after_send"


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # or a transaction sees for ever what it saw first
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


# --- everything at once ---------------------------------------------------------------------------


class Provider:
    """Remembers, in order, what each lane had accepted."""

    def __init__(self) -> None:
        self.accepted: dict[UUID, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, step: Step) -> None:
        with self._lock:
            self.accepted[step.conversation_id].append(step.id)


LANES, EACH, SECONDS = 16, 6, 20.0


def test_hostile_sweepers_and_many_workers_lose_double_and_reorder_nothing(seed: int) -> None:
    """Three workers step and finalize in batches while sweepers take locks, ring alarms and wake instances."""
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(LANES)]
    expected = {c.pk: [row.pk for row in queue_many(c, EACH)] for c in lanes}
    provider, done, end = Provider(), threading.Event(), time.monotonic() + SECONDS

    def left() -> bool:
        return Delivery.objects.filter(live=True).exists()

    def worker(number: int) -> None:
        luck = random.Random(seed + number)
        me = make_worker().pk
        while not done.is_set() and time.monotonic() < end:
            mine = luck.sample([c.pk for c in lanes], 8)
            steps = [row for row in lane.step(mine, me) if isinstance(row, Step)]
            if not steps and not left():
                done.set()
            finals = []
            for step in steps:
                if luck.random() < 0.3:
                    finals.append(not_sent(step, refund=1))
                else:
                    provider.take(step)
                    finals.append(accepted(step))
            luck.shuffle(finals)
            if finals:
                finalize(finals)

    def sweeper() -> None:
        while not done.is_set() and time.monotonic() < end:
            lane.ring(lanes[0].pk)
            lane.wake_instance(instance.pk)
            lane.sweep(50)
            lane.take_over()
            time.sleep(0.01)

    jobs: list[Callable[[], Any]] = [lambda n=n: worker(n) for n in range(3)]  # type: ignore[misc]
    at_once([*jobs, sweeper], within=SECONDS + 20)
    assert not left(), "lanes were lost"
    assert provider.accepted == expected
    assert Attempt.objects.filter(closed__isnull=True).count() == 0


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL can lock a row alone")
def test_a_busy_lane_is_never_taken_for_an_empty_one() -> None:
    """A worker that believes each answer, beside a session that locks heads: no lane is left behind."""
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(12)]
    for conversation in lanes:
        queue_many(conversation, 3)
    done = threading.Event()

    def locker() -> None:
        while not done.is_set():
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM chat_delivery WHERE live ORDER BY id LIMIT 20 FOR NO KEY UPDATE"
                )
                time.sleep(0.005)

    def worker() -> None:
        waiting, end = {c.pk for c in lanes}, time.monotonic() + SECONDS
        while waiting and time.monotonic() < end:
            rows = lane.step(waiting, 1)
            waiting = {row.conversation_id for row in rows}
            finalize([accepted(row) for row in rows if isinstance(row, Step)])
        done.set()

    at_once([locker, worker], within=SECONDS + 20)
    assert Delivery.objects.exclude(state=State.SENT).count() == 0


def test_the_database_itself_refuses_two_rows_in_one_place() -> None:
    conversation = make_conversation()
    first, second = queue_many(conversation, 2)
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.filter(pk=second.pk).update(seq=first.seq)
    due_now()
    assert in_thread(lambda: stepped(conversation).id) == first.pk
