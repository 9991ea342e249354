"""The gate parks once, asks at growing intervals and wakes what waited; a worker knows how old its heartbeat is."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.chat.delivery import gate, lane
from apps.chat.delivery.presence import Presence, process_name
from apps.chat.delivery.sender import SelfFence
from apps.chat.evolution.client import EvolutionError
from apps.chat.models import Instance, Worker
from apps.chat.tests.delivery.threads import at_once
from apps.chat.tests.factories import make_conversation, make_instance, queue, queue_many, step_one, stepped

Gate = Instance.Gate
pytestmark = pytest.mark.django_db


@pytest.fixture
def instance() -> Instance:
    return make_instance()


def probe_in(instance: Instance) -> float:
    at = Instance.objects.get(pk=instance.pk).probe_at
    assert at is not None
    return at.timestamp() - lane.database_seconds()


def probe_is_due(instance: Instance) -> None:
    Instance.objects.filter(pk=instance.pk).update(probe_at=Now() - timedelta(seconds=1))


# --- parking --------------------------------------------------------------------------------------


def test_an_instance_is_parked_once(instance: Instance) -> None:
    assert gate.park(instance.pk, "disconnected") is True
    assert gate.park(instance.pk, "connect_failed") is False
    instance.refresh_from_db()
    assert (instance.gate, instance.gate_reason, instance.gate_parks) == (Gate.PARKED, "disconnected", 1)
    assert instance.gate_since is not None
    assert 0 < probe_in(instance) <= 1.1


def test_an_instance_that_is_gone_is_not_parked() -> None:
    assert gate.park(make_conversation().pk, "disconnected") is False


def test_a_frozen_instance_stays_frozen(instance: Instance) -> None:
    Instance.objects.update(gate=Gate.FROZEN)
    assert gate.park(instance.pk, "disconnected") is False
    assert gate.reopen(instance.pk, "webhook") is False
    assert Instance.objects.get().gate == Gate.FROZEN


def test_the_wait_that_was_asked_for_is_kept(instance: Instance) -> None:
    gate.park(instance.pk, "rate_limited", wait=45.0)
    assert 43 < probe_in(instance) <= 45.1


def test_each_park_in_a_row_is_probed_later_than_the_one_before(instance: Instance) -> None:
    waits = []
    for _ in range(8):
        gate.park(instance.pk, "disconnected")
        waits.append(round(probe_in(instance)))
        gate.reopen(instance.pk, "probe")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_accepted_send_makes_probes_early_again(instance: Instance) -> None:
    Instance.objects.update(gate_parks=6)
    gate.proved(instance.pk)
    gate.park(instance.pk, "disconnected")
    assert probe_in(instance) <= 1.1


# --- opening --------------------------------------------------------------------------------------


def test_what_opens_the_gate_wakes_every_lane_behind_it(instance: Instance) -> None:
    lanes = [make_conversation(instance) for _ in range(3)]
    heads = [queue_many(conversation, 2)[0] for conversation in lanes]
    gate.park(instance.pk, "disconnected")
    assert step_one(lanes[0]) is None
    assert lane.sweep(10) == []
    assert gate.reopen(instance.pk, "webhook") is True
    assert gate.reopen(instance.pk, "webhook") is False
    assert {due.id for due in lane.sweep(10)} == {head.pk for head in heads}
    assert stepped(lanes[0]).id == heads[0].pk


@pytest.mark.parametrize(
    ("state", "status_reason", "parked_as"),
    [
        ("close", 401, "logged_out"),
        ("close", 428, "disconnected"),
        ("refused", None, "disconnected"),
        ("connecting", None, None),
        ("open", 200, None),
        ("nonsense", None, None),
    ],
)
def test_what_a_webhook_says_of_the_link(
    instance: Instance, state: str, status_reason: int | None, parked_as: str | None
) -> None:
    gate.connection_changed(instance.pk, state, status_reason)
    instance.refresh_from_db()
    assert (instance.gate, instance.gate_reason) == (
        (Gate.PARKED, parked_as) if parked_as else (Gate.OPEN, "")
    )


def test_a_webhook_that_says_open_opens(instance: Instance) -> None:
    gate.park(instance.pk, "disconnected")
    gate.connection_changed(instance.pk, "connecting", None)
    assert Instance.objects.get().gate == Gate.PARKED
    gate.connection_changed(instance.pk, "open", 200)
    assert Instance.objects.get().gate == Gate.OPEN


# --- probes ---------------------------------------------------------------------------------------


def test_a_probe_is_due_at_its_time_and_then_later_and_later(instance: Instance) -> None:
    gate.park(instance.pk, "disconnected")
    assert gate.probes_due() == []
    waits = []
    for _ in range(7):
        probe_is_due(instance)
        assert [due.pk for due in gate.probes_due()] == [instance.pk]
        assert gate.probes_due() == []
        waits.append(round(probe_in(instance)))
    assert waits == [2, 4, 8, 16, 32, 60, 60]


def test_an_open_or_frozen_instance_is_not_probed(instance: Instance) -> None:
    for state in (Gate.OPEN, Gate.FROZEN):
        Instance.objects.update(gate=state, probe_at=Now() - timedelta(seconds=1))
        assert gate.probes_due() == []


@pytest.mark.django_db(transaction=True)
def test_each_probe_is_given_to_one_process() -> None:
    parked = [make_instance() for _ in range(4)]
    for one in parked:
        gate.park(one.pk, "disconnected")
        probe_is_due(one)
    given = at_once([lambda: [due.pk for due in gate.probes_due()]] * 3)
    assert sorted(pk for mine in given for pk in mine) == sorted(one.pk for one in parked)


class Evolution:
    """Answers `connectionState` with a state, or with an error."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, 0

    async def connection_state(self, ref: object) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def no(reason: str, status: int | None) -> EvolutionError:
    return EvolutionError(reason, permanent=False, status=status, where="connection state")


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        ("open", True),
        ("close", False),
        ("connecting", False),
        (None, True),
        (no("connect_failed", None), False),
        (no("unauthorized", 401), False),
        (no("instance_missing", 404), False),
        (no("wrong_base_url", 404), False),
        (no("server_error", 500), True),
    ],
)
async def test_what_a_probe_makes_of_the_answer(answer: Any, opens: bool) -> None:
    instance = Instance(name="lab", base_url="http://e.test", api_key="key", gate_reason="disconnected")
    why = await gate.probe(Evolution(answer), instance)  # type: ignore[arg-type]
    assert (why is not None) == opens


async def test_a_throttled_instance_opens_without_a_question() -> None:
    evolution = Evolution("close")
    instance = Instance(name="lab", base_url="http://e.test", api_key="key", gate_reason="rate_limited")
    assert await gate.probe(evolution, instance) is not None  # type: ignore[arg-type]
    assert evolution.asked == 0


# --- presence -------------------------------------------------------------------------------------


def test_no_two_processes_share_a_name() -> None:
    assert len({process_name() for _ in range(100)}) == 100


def older(presence: Presence, seconds: float) -> None:
    presence._renewed -= seconds


def test_a_worker_is_alive_as_long_as_it_renews() -> None:
    presence = Presence("w")
    presence.register()
    assert presence.alive
    older(presence, 9.5)
    assert presence.alive
    older(presence, 1)
    assert not presence.alive
    presence.beat()
    assert presence.alive
    assert Worker.objects.count() == 1


def test_a_worker_that_never_registered_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert not Presence("w").alive


def test_the_age_counts_from_before_the_renewal_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that took 8 s in the database may be 8 s old there when it returns."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    presence = Presence("w")
    presence.register()

    class Slow:
        def update(self, **_: object) -> int:
            clock[0] += 8
            return 1

    monkeypatch.setattr(Worker.objects, "filter", lambda **_: Slow())
    presence.beat()
    clock[0] += 3
    assert not presence.alive


def test_a_worker_whose_row_was_cleared_away_writes_a_new_one() -> None:
    presence = Presence("w")
    presence.register()
    first = presence.id
    Worker.objects.all().delete()
    presence.beat()
    assert presence.id != first
    assert Worker.objects.get().pk == presence.id


def test_a_worker_that_left_is_dead_at_once() -> None:
    presence = Presence("w")
    presence.register()
    head = queue()
    stepped(head.conversation, presence.id)
    assert lane.take_over() == []
    presence.leave()
    assert lane.take_over() == [head.pk]


def test_workers_long_gone_are_forgotten() -> None:
    kept, gone = Presence("kept"), Presence("gone")
    kept.register()
    gone.register()
    Worker.objects.filter(pk=gone.id).update(beat_at=Now() - timedelta(hours=2))
    Presence.forget_old()
    assert [worker.name for worker in Worker.objects.all()] == ["kept"]


# --- the self-fence -------------------------------------------------------------------------------


def test_bytes_may_leave_only_within_the_fence_of_before_the_step() -> None:
    presence = Presence("w")
    presence.register()
    now = time.monotonic()
    assert SelfFence(now, presence).may_send()
    assert SelfFence(now - 9, presence).may_send()
    assert not SelfFence(now - 10.5, presence).may_send()


def test_bytes_may_not_leave_a_worker_that_may_be_taken_for_dead() -> None:
    presence = Presence("w")
    presence.register()
    older(presence, 11)
    assert not SelfFence(time.monotonic(), presence).may_send()
