"""A waiting message says how many leave before it and about when it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from apps.chat import redis_pace
from apps.chat.models import Delivery, Instance, Message
from apps.chat.tests.api.world import Team, set_state
from apps.chat.tests.factories import make_conversation, queue

State = Delivery.State


@pytest.fixture(autouse=True)
def _forget_outages() -> Iterator[None]:
    yield
    redis_pace.outage._since = None


@pytest.fixture
def bucket(redis_url: str, settings: Any) -> Any:
    """Says that the instance's bucket is full again in so many seconds."""

    def fill(team: Team, seconds: float, slow: float | None = None) -> None:
        client = redis.Redis.from_url(settings.CHAT_PACE_REDIS_URL)
        now, micros = client.time()
        key = f"chat:pace:{{{team.instance.pk}}}"
        client.set(key, str(int(now * 1_000_000 + micros + seconds * 1_000_000)))
        if slow is not None:
            client.set(f"{key}:slow", slow)
        client.close()

    return fill


def shown(team: Team, message: Message) -> tuple[int | None, int | None]:
    body = team.get(f"messages/{message.pk}/").json()
    return body["position"], body["leaves_in_seconds"]


def test_with_nothing_before_it_it_leaves_now(team: Team) -> None:
    assert shown(team, team.message()) == (0, 0)


def test_it_waits_behind_those_of_its_lane(team: Team) -> None:
    messages = [team.message(f"{n}") for n in range(13)]
    assert shown(team, messages[12]) == (12, 6)


def test_it_waits_for_its_instance_s_pace(team: Team, settings: Any, bucket: Any) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 0.5, 5
    for _ in range(10):
        queue(make_conversation(team.instance))
    message = team.message()
    assert shown(team, message) == (0, 12), "five at once, then six more at one in two seconds"
    bucket(team, 10)
    assert shown(team, message)[1] in (21, 22), "the burst is used up"
    bucket(team, 10, slow=0.5)
    assert shown(team, message)[1] in (43, 44), "asked to slow down, it goes by half the rate"


def test_another_instance_s_backlog_does_not_count(team: Team, others: Team, settings: Any) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 0.1, 1
    for _ in range(5):
        queue(make_conversation(others.instance))
    assert shown(team, team.message()) == (0, 0)


def test_with_redis_away_the_backlog_still_counts(team: Team, settings: Any) -> None:
    settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST = 0.5, 1
    settings.CHAT_PACE_REDIS_URL = "redis://127.0.0.1:1/4"
    for _ in range(3):
        queue(make_conversation(team.instance))
    assert shown(team, team.message()) == (0, 6)


def test_without_a_pace_nothing_is_asked(team: Team, settings: Any) -> None:
    settings.CHAT_PACE_RATE = 0
    settings.CHAT_PACE_REDIS_URL = "redis://127.0.0.1:1/4"
    assert shown(team, team.message()) == (0, 0)


def test_it_leaves_no_earlier_than_its_next_try(team: Team) -> None:
    first, second = team.message("a"), team.message("b")
    set_state(first.pk, State.QUEUED, attempts=1, wake_at=timezone.now() + timedelta(seconds=40))
    assert shown(team, first)[1] in (40, 39)
    assert shown(team, second) in ((1, 41), (1, 40))


def test_nobody_can_tell_when_a_person_or_the_phone_decides(team: Team) -> None:
    first, second = team.message("a"), team.message("b")
    set_state(first.pk, State.HELD, reason="evidence_missing")
    assert shown(team, second) == (1, None)
    assert shown(team, first) == (None, None)
    set_state(first.pk, State.QUEUED, reason="")
    Instance.objects.filter(pk=team.instance.pk).update(gate=Instance.Gate.PARKED, gate_reason="logged_out")
    assert shown(team, first) == (0, None)


def test_a_throttle_says_when_it_ends(team: Team) -> None:
    message = team.message()
    Instance.objects.filter(pk=team.instance.pk).update(
        gate=Instance.Gate.PARKED,
        gate_reason="rate_limited",
        probe_at=timezone.now() + timedelta(seconds=100),
    )
    assert shown(team, message)[1] in (99, 100)


def test_what_has_left_says_nothing(team: Team) -> None:
    message = team.message()
    set_state(message.pk, State.SENT, finished_at=timezone.now())
    assert shown(team, message) == (None, None)


def test_it_takes_few_queries(team: Team, django_assert_max_num_queries: Any) -> None:
    for _ in range(20):
        queue(make_conversation(team.instance))
    message = [team.message(f"{n}") for n in range(5)][-1]
    with django_assert_max_num_queries(12):
        team.get(f"messages/{message.pk}/")
