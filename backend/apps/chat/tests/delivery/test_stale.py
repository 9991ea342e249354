"""What grew too old while an instance was away is held for a person, and leaves in its order once released."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.chat.delivery import gate, lane, person, stale
from apps.chat.errors import Conflict
from apps.chat.models import Attempt, Conversation, Delivery, Instance, Message, PassportEntry
from apps.chat.realtime import events
from apps.chat.tests.delivery.threads import at_once
from apps.chat.tests.factories import (
    accepted,
    due_now,
    make_conversation,
    make_instance,
    queue,
    queue_many,
    step_one,
    stepped,
    write,
)

State = Delivery.State
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _an_hour(settings: Any) -> None:
    settings.CHAT_STALE_AFTER_SECONDS = 3600


@pytest.fixture
def instance() -> Instance:
    return make_instance()


@pytest.fixture
def conversation(instance: Instance) -> Conversation:
    return make_conversation(instance)


def older(seconds: float, *rows: Delivery) -> None:
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
        created_at=Now() - timedelta(seconds=seconds)
    )


def state(row: Delivery) -> tuple[int, str]:
    row.refresh_from_db()
    return row.state, row.reason


def away_and_back(instance: Instance, reason: str = "disconnected") -> None:
    gate.park(instance.pk, reason)
    assert gate.reopen(instance.pk, "webhook")


def events_of(row: Delivery) -> list[str]:
    return [entry.event for entry in PassportEntry.objects.filter(message_id=row.message_id)]


def test_what_waited_too_long_is_held_when_the_instance_is_back(
    instance: Instance, conversation: Conversation
) -> None:
    old, new = queue(conversation), queue(make_conversation(instance))
    older(3601, old)
    older(3590, new)
    away_and_back(instance)
    assert state(old) == (State.HELD, "stale")
    assert state(new) == (State.QUEUED, "")
    assert events_of(old) == ["held"]
    assert step_one(conversation) is None
    assert stepped(new.conversation).id == new.pk


def test_by_default_nothing_grows_too_old(
    settings: Any, instance: Instance, conversation: Conversation
) -> None:
    settings.CHAT_STALE_AFTER_SECONDS = 0
    old = queue(conversation)
    older(10**6, old)
    away_and_back(instance)
    assert state(old) == (State.QUEUED, "")


def test_what_is_new_in_a_lane_waits_behind_what_is_held(
    instance: Instance, conversation: Conversation
) -> None:
    old, new = queue_many(conversation, 2)
    older(4000, old)
    away_and_back(instance)
    due_now()
    assert step_one(conversation) is None
    person.release(old.message_id, old.tenant_id, send=False)
    assert stepped(conversation).id == new.pk


def test_other_instances_are_left_alone(instance: Instance, conversation: Conversation) -> None:
    other = queue()
    older(4000, other)
    away_and_back(instance)
    assert state(other) == (State.QUEUED, "")


def test_an_instance_that_was_not_away_holds_nothing(instance: Instance, conversation: Conversation) -> None:
    """A backlog at its pace is old, too; a webhook that says "open" once more is no return."""
    old = queue(conversation)
    older(4000, old)
    assert gate.reopen(instance.pk, "webhook") is False
    assert state(old) == (State.QUEUED, "")
    away_and_back(instance, gate.THROTTLED)
    assert state(old) == (State.QUEUED, "")


def test_what_is_in_flight_or_unclear_is_not_touched(instance: Instance) -> None:
    rows = [queue(make_conversation(instance)) for _ in range(3)]
    for row, there in zip(rows, (State.SENDING, State.VERIFYING, State.SENT), strict=True):
        Delivery.objects.filter(pk=row.pk).update(state=there)
    older(4000, *rows)
    away_and_back(instance)
    assert [state(row)[0] for row in rows] == [State.SENDING, State.VERIFYING, State.SENT]


def test_only_messages_of_their_own_are_held(instance: Instance, conversation: Conversation) -> None:
    """An edit, a delete or a reaction is about a message: nobody could release it."""
    rows = [queue(make_conversation(instance), kind=kind) for kind in Delivery.Kind]
    older(4000, *rows)
    away_and_back(instance)
    held = {row.kind for row in rows if state(row)[0] == State.HELD}
    assert held == {Delivery.Kind.TEXT, Delivery.Kind.MEDIA}


@pytest.mark.parametrize("kind", ["released", "replayed"])
def test_what_a_person_decided_lately_is_as_fresh_as_that(
    instance: Instance, conversation: Conversation, kind: str
) -> None:
    row = queue(conversation)
    older(4000, row)
    entry = PassportEntry.objects.create(message_id=row.message_id, event=kind)
    away_and_back(instance)
    assert state(row) == (State.QUEUED, "")
    PassportEntry.objects.filter(pk=entry.pk).update(at=Now() - timedelta(seconds=3700))
    away_and_back(instance)
    assert state(row) == (State.HELD, "stale")


def test_the_fence_grows_so_that_a_late_negative_is_ignored(
    instance: Instance, conversation: Conversation
) -> None:
    row = queue(conversation)
    older(4000, row)
    before = row.fence
    away_and_back(instance)
    row.refresh_from_db()
    assert row.fence == before + 1


# --- one or all -----------------------------------------------------------------------------------


@pytest.fixture
def held(instance: Instance) -> list[list[Delivery]]:
    """Two lanes of three messages that grew too old."""
    lanes = [queue_many(make_conversation(instance), 3) for _ in range(2)]
    older(4000, *(row for rows in lanes for row in rows))
    away_and_back(instance)
    assert {state(row) for rows in lanes for row in rows} == {(State.HELD, "stale")}
    return lanes


def drain(conversation: Conversation) -> list[int]:
    sent = []
    while step := step_one(conversation):
        write(accepted(step))
        sent.append(step.id)
    return sent


def test_all_of_them_are_sent_in_their_order(instance: Instance, held: list[list[Delivery]]) -> None:
    newer = queue(held[0][0].conversation)
    assert stale.release_all(instance.pk, send=True) == 6
    assert drain(held[0][0].conversation) == [*(row.pk for row in held[0]), newer.pk]
    assert drain(held[1][0].conversation) == [row.pk for row in held[1]]
    assert events_of(held[1][2]) == ["held", "released"]


def test_all_of_them_are_discarded(instance: Instance, held: list[list[Delivery]]) -> None:
    newer = queue(held[0][0].conversation)
    assert stale.release_all(instance.pk, send=False) == 6
    assert {state(row) for rows in held for row in rows} == {(State.CANCELLED, "discarded_by_person")}
    assert drain(newer.conversation) == [newer.pk]
    assert all(row.finished_at for rows in held for row in rows)


def test_deciding_twice_finds_nothing(instance: Instance, held: list[list[Delivery]]) -> None:
    assert stale.release_all(instance.pk, send=True) == 6
    assert stale.release_all(instance.pk, send=False) == 0
    assert state(held[0][0]) == (State.QUEUED, "")


def test_what_is_held_for_another_reason_stays(instance: Instance, held: list[list[Delivery]]) -> None:
    doubtful = queue(make_conversation(instance), state=State.HELD, reason="evidence_missing")
    stale.release_all(instance.pk, send=True)
    assert state(doubtful) == (State.HELD, "evidence_missing")


def test_one_released_waits_for_those_before_it(held: list[list[Delivery]]) -> None:
    first, second, _ = held[0]
    person.release(second.message_id, second.tenant_id, send=True)
    assert step_one(first.conversation) is None
    person.release(first.message_id, first.tenant_id, send=True)
    assert drain(first.conversation) == [first.pk, second.pk]


def test_a_released_one_was_never_tried_and_is_not_doubted(held: list[list[Delivery]]) -> None:
    row = held[0][0]
    person.release(row.message_id, row.tenant_id, send=True)
    row.refresh_from_db()
    assert row.maybe is False
    assert person.cancel(row.message_id, row.tenant_id) == "stopped"
    doubtful = queue(state=State.HELD, reason="evidence_missing")
    person.release(doubtful.message_id, doubtful.tenant_id, send=True)
    doubtful.refresh_from_db()
    assert doubtful.maybe is True


def test_a_held_one_can_be_edited_and_not_replayed(held: list[list[Delivery]]) -> None:
    row = held[0][0]
    assert person.edit(row.message_id, row.tenant_id, "still true")
    with pytest.raises(Conflict):
        person.replay(row.message_id, row.tenant_id)
    assert Message.objects.get(pk=row.message_id).content == "still true"
    assert not Attempt.objects.exists()


def test_few_are_told_one_by_one_and_many_at_once(
    monkeypatch: pytest.MonkeyPatch, held: list[list[Delivery]]
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(stale, "publish", lambda tenant, event: told.append(event["type"]))
    monkeypatch.setattr(stale.announce, "message_changed", told.append)
    ids = [row.message_id for rows in held for row in rows]
    stale.tell(ids)
    assert told == ids
    told.clear()
    monkeypatch.setattr(stale, "MOST_TOLD", 5)
    stale.tell(ids)
    assert told == [events.RESYNC_REQUIRED]


@pytest.mark.django_db(transaction=True)
def test_the_gate_opens_and_the_old_are_held_in_one_moment() -> None:
    """A worker that steps all the while gets none of what is too old."""
    instance = make_instance()
    lanes = [make_conversation(instance) for _ in range(20)]
    rows = [queue(one) for one in lanes]
    older(4000, *rows)
    fresh = queue(make_conversation(instance))
    gate.park(instance.pk, "disconnected")
    ids = [one.pk for one in lanes] + [fresh.conversation_id]

    def work() -> list[int]:
        taken: list[int] = []
        for _ in range(60):
            taken += [step.id for step in lane.step(ids, 0) if isinstance(step, lane.Step)]
        return taken

    def back() -> list[int]:
        gate.reopen(instance.pk, "webhook")
        return []

    taken = at_once([work, back, work])
    assert [pk for mine in taken for pk in mine] in ([], [fresh.pk])
    assert Delivery.objects.filter(state=State.HELD, reason="stale").count() == 20
