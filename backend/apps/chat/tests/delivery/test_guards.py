"""One test per guard of the protocol, named after it. Each fails when its guard is removed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from apps.chat.delivery import gate, lane, person
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.lane import Step
from apps.chat.delivery.presence import Presence
from apps.chat.delivery.resolver import open_case, verdict
from apps.chat.delivery.sender import SelfFence
from apps.chat.delivery.sweeper import Sweeper
from apps.chat.errors import Conflict
from apps.chat.models import Attempt, Delivery, Instance
from apps.chat.tests.delivery.test_resolver import LOOK, NO_CANARY, YES, case
from apps.chat.tests.delivery.threads import at_once
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    claim,
    due_now,
    final,
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

State, Closed = Delivery.State, Attempt.Closed
pytestmark = pytest.mark.django_db


def state_of(pk: int) -> int:
    return Delivery.objects.get(pk=pk).state


@pytest.mark.parametrize("state", [State.SENDING, State.VERIFYING, State.HELD])
def test_guard_head_subselect(state: int) -> None:
    """Only the lowest live row of a lane may move: what is behind it waits."""
    conversation = make_conversation()
    queue(conversation, state=state)
    follower = queue(conversation)
    assert step_one(conversation) is None
    assert state_of(follower.pk) == State.QUEUED


@pytest.mark.parametrize("state", [State.SENDING, State.VERIFYING, State.HELD])
def test_guard_outer_recheck(state: int) -> None:
    """A head that is no longer queued is not stepped."""
    head = queue(state=state)
    assert step_one(head.conversation) is None
    assert state_of(head.pk) == state


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's step is one look and one write")
@pytest.mark.django_db(transaction=True)
def test_guard_outer_recheck_between_look_and_lock(
    monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    """A cancel that commits after the step has found the head, and before it locks it, wins."""
    head = queue()
    sql = lane.statements("postgresql")
    paused = sql.step.replace(
        "), mine AS MATERIALIZED (\n  SELECT l.id FROM head",
        "), waited AS MATERIALIZED (SELECT pg_sleep(1), count(*) FROM head\n"
        "), mine AS MATERIALIZED (\n  SELECT l.id FROM waited CROSS JOIN head",
    )
    assert paused != sql.step
    monkeypatch.setattr(lane, "statements", lambda _: replace(sql, step=paused))

    def cancel() -> str:
        eventually(lambda: waits_in("PgSleep"), what="the step's pause")
        return person.cancel(head.message_id, head.tenant_id)

    steps, answer = at_once([lambda: lane.step([head.conversation_id], 1), cancel])
    assert answer == "stopped"
    assert not any(isinstance(row, Step) for row in steps)
    assert (state_of(head.pk), Attempt.objects.count()) == (State.CANCELLED, 0)


def waits_in(event: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = %s", [event])
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("state", [State.QUEUED, State.FAILED])
def test_guard_fence_on_negatives(state: int) -> None:
    """A worker that was taken over, and comes back, cannot have its row sent again."""
    head = queue()
    step = stepped(head.conversation, make_worker(stopped=True))
    lane.take_over()
    assert write(not_sent(step, state)) == {}
    assert state_of(head.pk) == State.VERIFYING
    assert Attempt.objects.get().closed is None


@pytest.mark.parametrize("state", [State.QUEUED, State.VERIFYING, State.HELD, State.FAILED, State.CANCELLED])
def test_guard_evidence_without_fence(state: int) -> None:
    """An answer with an id counts whoever holds the row by now, or else it is sent again."""
    head = queue()
    step = stepped(head.conversation)
    Delivery.objects.update(state=state, fence=step.fence + 3)
    assert write(accepted(step)) == {head.pk: State.SENT}
    due_now()
    assert step_one(head.conversation) is None


@pytest.mark.django_db(transaction=True)
def test_guard_unique_provider_id() -> None:
    """One id is proof of one attempt."""
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(2)]
    for conversation in lanes:
        queue(conversation, "oi")
    for conversation in lanes:
        write(accepted(stepped(conversation), "3EB0SAME"))
    assert Attempt.objects.filter(provider_id="3EB0SAME").count() == 1
    assert sorted(Delivery.objects.values_list("state", flat=True)) == [State.HELD, State.SENT]


def test_guard_takeover() -> None:
    """What a dead worker had in hand is looked after at once, not when its lease is over."""
    head = queue()
    stepped(head.conversation, make_worker(silent_for=11))
    lane.take_over()
    assert state_of(head.pk) == State.VERIFYING
    assert [due.id for due in lane.sweep(10)] == [head.pk]
    assert claim(head) is not None


def test_guard_owner_check() -> None:
    """A living worker's row is nobody else's, even when a dead one tried it before."""
    head = queue()
    first = stepped(head.conversation, make_worker(silent_for=100))
    write(unclear(first))
    Delivery.objects.update(state=State.QUEUED)
    age_attempts(96)
    due_now()
    mine = stepped(head.conversation, make_worker())
    assert lane.take_over() == []
    assert write(not_sent(mine)) == {head.pk: State.QUEUED}


def test_guard_presence() -> None:
    """A worker that may be taken for dead lets no bytes out."""
    presence = Presence("w")
    presence.register()
    assert SelfFence(time.monotonic(), presence).may_send()
    presence._renewed -= 10
    assert not SelfFence(time.monotonic(), presence).may_send()


def test_guard_self_fence() -> None:
    """The age of this step counts, not that of a heartbeat that was revived meanwhile."""
    presence = Presence("w")
    presence.register()
    began = time.monotonic() - 10.1
    presence.beat()
    assert presence.alive
    assert not SelfFence(began, presence).may_send()


def test_guard_canary() -> None:
    """An answer that does not show our last sure message says nothing of the missing one."""
    assert verdict(LOOK, case(), NO_CANARY, False).state == State.HELD
    assert verdict(LOOK, case(), YES, False).state == State.QUEUED


def test_guard_settle() -> None:
    """Absence does not count while the send may still arrive."""
    head = queue()
    write(unclear(stepped(head.conversation)))
    step = claim(head)
    assert step is not None
    early = open_case(step)
    assert early is not None
    assert verdict(step, early, YES, False).state == State.VERIFYING
    age_attempts(96)
    late = open_case(step)
    assert late is not None
    assert verdict(step, late, YES, False).state == State.QUEUED


def test_guard_ambiguous_evidence() -> None:
    """Parked evidence that says the same may be the missing one's."""
    assert verdict(LOOK, case(), YES, ambiguous=True).state == State.HELD


class Hands:
    """What a sweeper hands out, and how much room there is."""

    def __init__(self, room: int = 100, looks: int = 100) -> None:
        self.lanes: list[UUID] = []
        self.rows: list[int] = []
        self._room, self._looks = room, looks

    @property
    def room(self) -> int:
        return max(self._looks - len(self.rows), 0)

    def lane_room(self) -> int:
        return max(self._room - len(self.lanes), 0)

    def add(self, delivery_id: int, instance_id: UUID) -> None:
        self.rows.append(delivery_id)

    def add_lane(self, conversation_id: UUID, _: UUID) -> None:
        self.lanes.append(conversation_id)


async def tick(hands: Hands, client: Any = None) -> None:
    database = DatabaseThread(lambda: 1)
    one = Sweeper(database, client, hands, hands.lane_room, hands.add_lane)  # type: ignore[arg-type]
    try:
        await one.tick()
        await asyncio.gather(*one._probes)
    finally:
        database.stop()


@pytest.mark.django_db(transaction=True)
async def test_guard_sweeper() -> None:
    """With every wake-up lost, rows are found: heads to send, sends to verify, dead workers' rows."""

    def rows() -> tuple[Delivery, Delivery, Delivery]:
        waiting, unsure, orphan = queue(), queue(), queue()
        write(unclear(stepped(unsure.conversation)))
        stepped(orphan.conversation, make_worker(stopped=True))
        due_now(pk__in=[waiting.pk, unsure.pk])
        return waiting, unsure, orphan

    waiting, unsure, orphan = await sync_to_async(rows)()
    hands = Hands()
    await tick(hands)
    assert hands.lanes == [waiting.conversation_id]
    assert sorted(hands.rows) == sorted([unsure.pk, orphan.pk])


@pytest.mark.django_db(transaction=True)
async def test_a_full_resolver_does_not_keep_lanes_from_moving() -> None:
    """Trouble stays where it is: one instance's unclear sends do not stop the retries of the others."""

    def rows() -> tuple[list[int], Delivery]:
        unsure = [queue() for _ in range(3)]
        for row in unsure:
            write(unclear(stepped(row.conversation)))
        waiting = queue()
        due_now()
        return [row.pk for row in unsure], waiting

    unsure, waiting = await sync_to_async(rows)()
    hands = Hands(looks=2)
    await tick(hands)
    assert hands.lanes == [waiting.conversation_id]
    assert len(hands.rows) == 2 and set(hands.rows) <= set(unsure)


@pytest.mark.django_db(transaction=True)
async def test_the_sweeper_opens_gates_whose_probe_says_so() -> None:
    class Evolution:
        async def connection_state(self, _: object) -> str:
            return "open"

    def parked() -> Delivery:
        row = queue()
        gate.park(row.instance_id, "disconnected")
        Instance.objects.update(probe_at="2020-01-01T00:00:00Z")
        return row

    row = await sync_to_async(parked)()
    hands = Hands()
    await tick(hands, Evolution())
    assert (await Instance.objects.aget()).gate == Instance.Gate.OPEN
    await tick(hands, Evolution())
    assert hands.lanes == [row.conversation_id]


def test_guard_cancel() -> None:
    """Only what is queued is called stopped: what is in a worker's hands may be going out."""
    head = queue()
    stepped(head.conversation)
    assert person.cancel(head.message_id, head.tenant_id) == "pending"
    assert state_of(head.pk) == State.SENDING


def test_guard_cancel_ends_what_was_not_sent() -> None:
    head = queue()
    step = stepped(head.conversation)
    person.cancel(head.message_id, head.tenant_id)
    write(not_sent(step))
    assert state_of(head.pk) == State.CANCELLED


def test_guard_replay() -> None:
    """A failure is answered by one replay, at the end of the lane."""
    conversation = make_conversation()
    head, follower = queue_many(conversation, 2)
    write(not_sent(stepped(conversation), State.FAILED))
    person.replay(head.message_id, head.tenant_id, failure_gen=1)
    with pytest.raises(Conflict):
        person.replay(head.message_id, head.tenant_id, failure_gen=1)
    assert stepped(conversation).id == follower.pk
    write(accepted(lane_step(follower)))
    write(not_sent(stepped(conversation), State.FAILED))
    with pytest.raises(Conflict):
        person.replay(head.message_id, head.tenant_id, failure_gen=1)


def lane_step(row: Delivery) -> Step:
    attempt = Attempt.objects.filter(delivery=row).latest("n")
    return replace(LOOK, id=row.pk, attempts=attempt.n, fence=attempt.fence, message_id=row.message_id)


def test_guard_open_attempt_rule() -> None:
    """ "Send anyway" puts a row back whose earlier POST may still arrive: nothing leaves the lane before that."""
    conversation = make_conversation()
    head, _ = queue_many(conversation, 2)
    write(final(stepped(conversation), State.HELD, reason="evidence_missing"))
    person.release(head.message_id, head.tenant_id, send=True)
    assert step_one(conversation) is None
    person.cancel(head.message_id, head.tenant_id)
    assert step_one(conversation) is None
    age_attempts(96)
    assert step_one(conversation) is not None


def test_guard_one_transaction_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is ever in flight without the attempt that evidence will be bound to."""
    conversations = [make_conversation() for _ in range(3)]
    for conversation in conversations:
        queue(conversation)
    lane.step([conversation.pk for conversation in conversations], 1)
    assert Attempt.objects.filter(closed__isnull=True).count() == 3
    assert Delivery.objects.filter(state=State.SENDING, attempt_rows__closed__isnull=True).count() == 3


@pytest.mark.django_db(transaction=True)
def test_guard_finalize_commits_before_the_next_step() -> None:
    """A row added while the one before it is finalized is found by the step that follows, or by its own wake-up."""
    conversation = make_conversation()
    queue(conversation)
    step = stepped(conversation)
    added = threading.Event()

    def add() -> int:
        pk = queue(conversation).pk
        added.set()
        return pk

    def finish() -> Step | None:
        write(accepted(step))
        added.wait(10)
        return step_one(conversation)

    pk, after = at_once([add, finish])
    assert after is not None and after.id == pk
