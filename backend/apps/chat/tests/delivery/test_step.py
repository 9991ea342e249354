"""T1: a step takes the head of a lane, or nothing, and opens its attempt in the same transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from apps.chat.delivery import lane
from apps.chat.delivery.lane import Busy
from apps.chat.models import Attempt, Delivery, Instance
from apps.chat.tests.delivery.threads import in_thread
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    due_now,
    make_conversation,
    make_instance,
    make_message,
    make_tenant,
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

only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks the whole file")


def test_the_lowest_live_seq_is_taken_and_nothing_beside_it() -> None:
    conversation = make_conversation()
    first, second, _ = queue_many(conversation, 3)
    step = stepped(conversation)
    assert step.id == first.id
    assert step_one(conversation) is None
    write(accepted(step))
    assert stepped(conversation).id == second.id


@pytest.mark.parametrize("state", [State.SENT, State.FAILED, State.CANCELLED])
def test_what_is_finished_does_not_block(state: int) -> None:
    conversation = make_conversation()
    queue(conversation, state=state)
    second = queue(conversation)
    assert stepped(conversation).id == second.id


@pytest.mark.parametrize("state", [State.SENDING, State.VERIFYING, State.HELD])
def test_a_head_in_flight_or_held_blocks_its_lane(state: int) -> None:
    conversation = make_conversation()
    queue(conversation, state=state)
    queue(conversation)
    assert step_one(conversation) is None


def test_a_head_that_must_wait_blocks_its_lane() -> None:
    conversation = make_conversation()
    head, _ = queue_many(conversation, 2)
    Delivery.objects.filter(pk=head.pk).update(wake_at=Now() + timedelta(seconds=60))
    assert step_one(conversation) is None
    due_now(pk=head.pk)
    assert stepped(conversation).id == head.id


@pytest.mark.parametrize("gate", [Instance.Gate.PARKED, Instance.Gate.FROZEN])
def test_a_closed_gate_gives_nothing_and_burns_nothing(gate: int) -> None:
    head = queue()
    Instance.objects.filter(pk=head.instance_id).update(gate=gate)
    assert step_one(head.conversation) is None
    head.refresh_from_db()
    assert (head.state, head.tries, head.attempts, head.fence) == (State.QUEUED, 0, 0, 0)
    Instance.objects.filter(pk=head.instance_id).update(gate=Instance.Gate.OPEN)
    assert stepped(head.conversation).id == head.id


def test_lanes_are_apart() -> None:
    instance = make_instance()
    parked = make_instance(gate=Instance.Gate.PARKED)
    lanes = [make_conversation(instance) for _ in range(3)] + [make_conversation(parked)]
    heads = [queue_many(conversation, 2)[0] for conversation in lanes]
    Delivery.objects.filter(pk=heads[1].pk).update(state=State.HELD)
    rows = lane.step([conversation.pk for conversation in lanes], 7)
    assert {row.id for row in rows if not isinstance(row, Busy)} == {heads[0].pk, heads[2].pk}


@pytest.mark.parametrize("closed", [None, Attempt.Closed.NOT_SENT, Attempt.Closed.ACCEPTED])
@pytest.mark.parametrize("settled", [False, True])
def test_an_open_attempt_blocks_the_lane_until_it_has_settled(closed: int | None, settled: bool) -> None:
    """Whatever became of its row: here somebody cancelled it after "send anyway"."""
    conversation = make_conversation()
    first, second = queue_many(conversation, 2)
    stepped(conversation)
    Delivery.objects.filter(pk=first.pk).update(state=State.CANCELLED)
    Attempt.objects.filter(delivery=first).update(closed=closed)
    if settled:
        age_attempts(96)
    step = step_one(conversation)
    assert (step is None) == (closed is None and not settled)
    assert step is None or step.id == second.id


def test_an_open_attempt_blocks_no_other_lane() -> None:
    instance = make_instance()
    one, other = make_conversation(instance), make_conversation(instance)
    queue(one)
    head = queue(other)
    write(unclear(stepped(one)))
    assert stepped(other).id == head.id


def test_the_row_and_its_attempt_agree() -> None:
    worker = make_worker()
    head = queue(text="olá")
    step = stepped(head.conversation, worker)
    head.refresh_from_db()
    attempt = Attempt.objects.get(delivery=head)
    assert (head.state, head.fence, head.tries, head.attempts) == (State.SENDING, 1, 1, 1)
    assert head.owner_id == worker.pk == attempt.worker_id
    assert (attempt.n, attempt.fence, attempt.fingerprint) == (1, 1, head.fingerprint)
    assert (attempt.conversation_id, attempt.instance_id) == (head.conversation_id, head.instance_id)
    assert attempt.closed is None and attempt.provider_id is None
    assert (step.fence, step.attempts, step.tries, step.content) == (1, 1, 1, "olá")


def test_the_lease_begins_with_the_step() -> None:
    head = queue()
    stepped(head.conversation)
    head.refresh_from_db()
    at = Attempt.objects.get(delivery=head).step_at
    assert timedelta(seconds=119) < head.wake_at - at < timedelta(seconds=121)


def test_each_step_has_its_own_attempt_and_a_higher_fence() -> None:
    conversation = make_conversation()
    queue(conversation)
    first = stepped(conversation)
    write(not_sent(first))
    second = stepped(conversation)
    assert (second.attempts, second.tries) == (2, 2)
    assert second.fence > first.fence
    assert list(Attempt.objects.order_by("n").values_list("n", "fence")) == [
        (1, first.fence),
        (2, second.fence),
    ]


def test_a_step_that_cannot_write_its_attempt_did_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    head = queue()
    whole = lane.statements(connection.vendor)
    broken = {
        name: getattr(whole, name).replace("INTO chat_attempt", "INTO nothing")
        for name in ("step", "attempts")
    }
    monkeypatch.setattr(lane, "statements", lambda _: type("S", (), broken))
    with pytest.raises(Exception, match="nothing"), transaction.atomic():
        lane.step([head.conversation_id], 1)
    head.refresh_from_db()
    assert (head.state, head.fence) == (State.QUEUED, 0)


def test_what_is_to_be_sent_comes_with_the_step() -> None:
    tenant = make_tenant("at_most_once")
    instance = make_instance(tenant, name="lab", api_key="opened", base_url="http://e.test", gate_parks=2)
    conversation = make_conversation(instance, "5511987654321")
    quoted = make_message(conversation, "antes", provider_id="3EB0QUOTED")
    head = queue(conversation, "agora")
    head.message.reply_to = quoted
    head.message.save()
    step = stepped(conversation)
    assert step.remote_jid == "5511987654321@s.whatsapp.net"
    assert (step.instance_name, step.base_url, step.api_key) == ("lab", "http://e.test", "opened")
    assert (step.quoted_id, step.mode, step.parks) == ("3EB0QUOTED", "at_most_once", 2)
    assert (step.tenant_id, step.instance_id) == (tenant.pk, instance.pk)
    assert "opened" not in repr(step) and "agora" not in repr(step)


def test_the_servers_mode_counts_when_the_tenant_has_none() -> None:
    assert stepped(queue().conversation).mode == "verified"


def test_a_lane_that_does_not_exist_gives_nothing() -> None:
    assert lane.step([], 1) == []
    assert lane.step([make_tenant().pk], 1) == []


@only_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", ["FOR NO KEY UPDATE", "FOR UPDATE"])
def test_a_head_in_another_sessions_hands_is_busy_not_empty(lock: str) -> None:
    head = queue()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM chat_delivery WHERE id = %s {lock}", [head.pk])
        rows = in_thread(lambda: lane.step([head.conversation_id], 1))
    assert rows == [Busy(head.conversation_id)]
    assert stepped(head.conversation).id == head.id


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_to_the_head_does_not_hide_it() -> None:
    """A passport entry takes KEY SHARE on what it refers to: that must neither hide the head nor make it busy."""
    head = queue()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM chat_delivery WHERE id = %s FOR KEY SHARE", [head.pk])
        rows = in_thread(lambda: lane.step([head.conversation_id], 1))
    assert [row.id for row in rows if not isinstance(row, Busy)] == [head.id]


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_locked_follower_does_not_matter() -> None:
    conversation = make_conversation()
    head, follower = queue_many(conversation, 2)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM chat_delivery WHERE id = %s FOR UPDATE", [follower.pk])
        rows = in_thread(lambda: lane.step([conversation.pk], 1))
    assert [row.id for row in rows if not isinstance(row, Busy)] == [head.id]
