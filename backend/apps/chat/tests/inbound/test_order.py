"""Webhooks come shuffled, repeated and to several processes at once; the rows must end the same."""

from __future__ import annotations

import os
import random
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from apps.chat import inbound
from apps.chat.inbound import applier
from apps.chat.models import Instance, WebhookEvent
from apps.tenancy.models import Tenant

from .conftest import (
    NOON,
    Body,
    call_body,
    delete_body,
    edit_body,
    history_body,
    journalled,
    make_instance,
    message_body,
    name_body,
    reaction_body,
    state_of,
    status_body,
)

SEED = int(os.environ.get("TEST_SEED") or random.randrange(1 << 32))
LID = "111111111111111@lid"
PHONE = "5511990000001@s.whatsapp.net"
GROUP = "120363000000000001@g.us"

# One person under three addresses, and everything that can happen to their messages.
STORY: list[Body] = [
    message_body("L1", "from the lid", at=NOON, jid=LID),
    message_body("P1", "from the phone", at=NOON + 10, jid=PHONE, quoted="L1"),
    message_body("B1", "both are known", at=NOON + 20, jid=LID, remoteJidAlt=PHONE),
    edit_body("L1", "edited once", (NOON + 30) * 1000),
    edit_body("L1", "edited twice", (NOON + 40) * 1000),
    edit_body("P1", None, (NOON + 41) * 1000),
    message_body("P2", "the last", at=NOON + 50, quoted="B1"),
    delete_body("B1"),
    message_body("O1", "typed on the phone", at=NOON + 60, from_me=True),
    status_body("O1", "DELIVERY_ACK"),
    status_body("O1", "READ"),
    status_body("L1", "READ", from_me=False),
    reaction_body("\U0001f44d", (NOON + 64) * 1000, "O1", jid=LID),
    reaction_body("", (NOON + 70) * 1000, "O1"),
    reaction_body("\U0001f44d", (NOON + 72) * 1000, "P1", from_me=True),
    message_body("P3", "one", at=NOON + 74, jid=PHONE, push_name="Ana M."),
    message_body("P4", "two", at=NOON + 75, jid=PHONE, quoted="P3"),
    status_body("O1", "SERVER_ACK"),
    message_body("P5", "three", at=NOON + 76, jid=LID, remoteJidAlt=PHONE, quoted="P2"),
    message_body("P5", "three", at=NOON + 76, jid=LID, quoted="P2"),
    call_body("offer", NOON + 80),
    call_body("timeout", NOON + 95),
    name_body("Ana Maria"),
    message_body("G1", "in a group", at=NOON + 100, jid=GROUP, participant=LID, participantAlt=PHONE),
    name_body("a speaker", GROUP),
    history_body(
        message_body("H1", "years ago", at=NOON - 90_000_000),
        message_body("P2", "the last", at=NOON + 50, quoted="B1"),
    ),
]


def receipt(step: int, repetition: int) -> datetime:
    """A first receipt follows the message within seconds, a repeated one minutes later."""
    return datetime.fromtimestamp(NOON + 6 * step + 5 + 400 * repetition, UTC)


def tell(order: list[tuple[int, int]]) -> dict[str, list[Any]]:
    """Apply the story in this order, to a tenant of its own; answers the state."""
    tenant = Tenant.objects.create(name=f"told {os.urandom(8).hex()}")
    instance = make_instance(tenant)
    for step, repetition in order:
        inbound.apply(journalled(instance, STORY[step], receipt(step, repetition)))
    return state_of(tenant)


def tell_together(order: list[tuple[int, int]], cuts: list[int]) -> dict[str, list[Any]]:
    """The same in stretches, cut at these places: what is plain of each is applied together."""
    tenant = Tenant.objects.create(name=f"told {os.urandom(8).hex()}")
    instance = make_instance(tenant)
    ids = [journalled(instance, STORY[step], receipt(step, repetition)).pk for step, repetition in order]
    places = [0, *sorted(cuts), len(ids)]
    for start, end in pairwise(places):
        assert len(applier.try_all(ids[start:end])) == end - start
    return state_of(tenant)


IN_ORDER = [(step, 0) for step in range(len(STORY))]


@cache
def wanted() -> dict[str, list[Any]]:
    """What the story told in its order comes to. It speaks of no row by an id of ours, so once is enough."""
    return tell(IN_ORDER)


REPEATED = [(step, 1) for step in range(len(STORY))]


@seed(SEED)
@settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "25")),
    deadline=None,
    derandomize=False,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    order=st.permutations(IN_ORDER), repeats=st.lists(st.sampled_from(REPEATED), max_size=6), data=st.data()
)
def test_any_order_and_any_repetition_end_in_one_state(
    transactional_db: None,
    order: list[tuple[int, int]],
    repeats: list[tuple[int, int]],
    data: st.DataObject,
) -> None:
    print(f"TEST_SEED={SEED}")
    for repeat in repeats:
        order.insert(data.draw(st.integers(0, len(order))), repeat)
    assert tell(order) == wanted()
    cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=4))
    assert tell_together(order, cuts) == wanted()


def test_the_story_told_twice_changes_nothing(transactional_db: None) -> None:
    assert tell(IN_ORDER + REPEATED) == tell(IN_ORDER)


@pytest.mark.parametrize("stretch", [1, 8])
@pytest.mark.parametrize("shuffle", range(3))
def test_two_appliers_at_once_end_in_the_same_state(
    transactional_db: None, shuffle: int, stretch: int
) -> None:
    chance = random.Random(SEED + shuffle)
    print(f"TEST_SEED={SEED}")
    tenant = Tenant.objects.create(name="two at once")
    instance = make_instance(tenant)
    ids = [journalled(instance, body, receipt(step, 0)).pk for step, body in enumerate(STORY)]
    threads = [_applier(chance.sample(ids, len(ids)), stretch) for _ in range(2)]
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    _sweep_the_rest()
    got = state_of(tenant)
    expected = wanted()
    print([(a, b) for name in got for a, b in zip(got[name], expected[name], strict=False) if a != b])
    assert got == expected


def _applier(ids: list[int], stretch: int) -> threading.Thread:
    def run() -> None:
        for start in range(0, len(ids), stretch):
            applier.try_all(ids[start : start + stretch])
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _sweep_the_rest() -> None:
    """Deadlocks and conflicts put an event back; it is then applied by a sweep."""
    WebhookEvent.objects.update(applied_at=datetime.now(UTC) - timedelta(hours=1))
    assert applier.sweep_once() == len(STORY)
    done = (WebhookEvent.State.APPLIED, WebhookEvent.State.IGNORED)
    assert not WebhookEvent.objects.exclude(state__in=done).exists()


def test_one_instance_is_not_touched_by_anothers_story(transactional_db: None) -> None:
    tell(IN_ORDER)
    other = Instance.objects.create(tenant=Tenant.objects.create(name="other"), name="x", base_url="y")
    assert not any(state_of(other.tenant).values())
