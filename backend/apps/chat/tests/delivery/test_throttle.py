"""A rate-limit answer closes the gate for longer each time, halves the pace for a while, and burns no try."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.chat import redis_pace
from apps.chat.delivery import gate, lane
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.gate import Slower
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Delivery, Instance
from apps.chat.redis_clients import close_async_clients
from apps.chat.tests.delivery.threads import at_once, in_thread
from apps.chat.tests.factories import make_conversation, make_instance, queue, stepped

Gate, State = Instance.Gate, Delivery.State
pytestmark = pytest.mark.django_db
TOO_FAST = Outcome(Verdict.NOT_SENT, "rate_limited", throttle=True, wait=60.0, http_status=429)


@pytest.fixture
def instance() -> Instance:
    return make_instance()


@pytest.fixture(autouse=True)
def _forget_outages() -> Iterator[None]:
    yield
    redis_pace.outage._since = None


def waits(instance: Instance) -> int:
    instance.refresh_from_db()
    assert instance.probe_at is not None
    return round(instance.probe_at.timestamp() - lane.database_seconds())


def test_it_closes_the_gate_for_longer_each_time(instance: Instance) -> None:
    seen, factors = [], []
    for _ in range(5):
        slower = gate.throttle(instance.pk, 60.0)
        assert slower is not None
        seen.append(waits(instance))
        factors.append(slower.factor)
        gate.reopen(instance.pk, "wait is over")
    assert seen == [60, 120, 240, 300, 300]
    assert factors == [0.5, 0.25, 0.125, 0.125, 0.125]


def test_never_less_is_waited_than_was_asked_for(instance: Instance) -> None:
    assert gate.throttle(instance.pk, 900.0) == Slower(0.5, 1800.0)
    assert waits(instance) == 900


def test_answers_to_what_was_in_flight_together_count_once(instance: Instance) -> None:
    assert gate.throttle(instance.pk, 60.0) is not None
    assert [gate.throttle(instance.pk, 60.0) for _ in range(5)] == [None] * 5
    instance.refresh_from_db()
    assert (instance.throttles, instance.gate_reason) == (1, "rate_limited")


@pytest.mark.django_db(transaction=True)
def test_of_many_processes_one_counts_it() -> None:
    instance = make_instance()
    answers = at_once([lambda: gate.throttle(instance.pk, 60.0)] * 4)
    assert sum(answer is not None for answer in answers) == 1
    instance.refresh_from_db()
    assert instance.throttles == 1


def test_after_a_quiet_time_it_counts_anew(instance: Instance) -> None:
    for _ in range(3):
        gate.throttle(instance.pk, 60.0)
        gate.reopen(instance.pk, "wait is over")
    Instance.objects.update(throttled_at=Now() - timedelta(seconds=1300))
    slower = gate.throttle(instance.pk, 60.0)
    assert slower is not None
    assert (slower.factor, waits(instance)) == (0.5, 60)


def test_an_accepted_send_does_not_make_it_forget(instance: Instance) -> None:
    gate.throttle(instance.pk, 60.0)
    gate.reopen(instance.pk, "wait is over")
    gate.proved(instance.pk)
    gate.throttle(instance.pk, 60.0)
    assert waits(instance) == 120


def test_a_frozen_instance_stays_as_it_is(instance: Instance) -> None:
    Instance.objects.update(gate=Gate.FROZEN)
    assert gate.throttle(instance.pk, 60.0) is None
    instance.refresh_from_db()
    assert (instance.gate, instance.throttles) == (Gate.FROZEN, 0)


@pytest.mark.django_db(transaction=True)
async def test_a_refused_send_waits_burns_nothing_and_slows_its_instance_down(
    redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 10, 100
    settings.CHAT_SWEEP_INTERVAL_SECONDS = 60

    async def refused(*_: object) -> Outcome:
        return replace(TOO_FAST)

    monkeypatch.setattr("apps.chat.delivery.sender.send", refused)

    def prepare() -> tuple[Delivery, lane.Step]:
        row = queue(make_conversation(make_instance()))
        return row, stepped(row.conversation)

    row, step = await asyncio.to_thread(in_thread, prepare)
    async with Engine() as engine:
        await engine.deliver(step, time.monotonic())
        assert (await engine.pacer.take(row.instance_id, 100)).permits == 5, (
            "a second's worth of half the rate"
        )
    after = await asyncio.to_thread(
        in_thread, lambda: Delivery.objects.select_related("instance").get(pk=row.pk)
    )
    assert (after.state, after.tries, after.reason) == (State.QUEUED, 0, "rate_limited")
    assert after.instance.gate == Gate.PARKED
    await close_async_clients()
