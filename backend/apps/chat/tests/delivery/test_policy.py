"""What is written after an attempt: pure, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from apps.chat.delivery import policy
from apps.chat.delivery.lane import Step
from apps.chat.evolution.verdicts import Outcome, Verdict
from apps.chat.models import Attempt, Delivery

State, Closed = Delivery.State, Attempt.Closed

STEP = Step(
    id=1,
    conversation_id=uuid4(),
    message_id=uuid4(),
    instance_id=uuid4(),
    tenant_id=uuid4(),
    kind=Delivery.Kind.TEXT,
    payload=None,
    fence=3,
    tries=1,
    attempts=2,
    checks=0,
    state=State.SENDING,
    reason="",
    content="oi",
    quoted_id="",
    remote_jid="5511900000000@s.whatsapp.net",
    instance_name="lab",
    base_url="http://e.test",
    api_key="key",
    parks=0,
    mode="verified",
)


def no(reason: str = "server_error", **values: Any) -> Outcome:
    return Outcome(Verdict.NOT_SENT, reason, **values)


def test_accepted_is_sent_with_its_id() -> None:
    final = policy.decide(STEP, Outcome(Verdict.ACCEPTED, "accepted", provider_id="3EB0", http_status=201))
    assert (final.state, final.prov, final.closed) == (State.SENT, "3EB0", Closed.ACCEPTED)
    assert (final.n, final.fence, final.http, final.bytes_left) == (2, 3, 201, True)


def test_unclear_is_verified_and_its_attempt_left_open() -> None:
    final = policy.decide(STEP, Outcome(Verdict.UNCLEAR, "read_timeout"))
    assert (final.state, final.closed, final.wait, final.refund) == (State.VERIFYING, None, 1.0, 0)


@pytest.mark.parametrize(
    ("outcome", "tries", "state", "refund"),
    [
        (no(), 1, State.QUEUED, 0),
        (no(), 4, State.QUEUED, 0),
        (no(), 5, State.FAILED, 0),
        (no(permanent=True), 1, State.FAILED, 0),
        # the instance's trouble burns no try, however often it comes
        (no("connect_failed"), 5, State.QUEUED, 1),
        (no("unauthorized"), 5, State.QUEUED, 1),
        (no("bad_address"), 5, State.QUEUED, 1),
        (no("disconnected", park=True), 5, State.QUEUED, 1),
        (no("rate_limited", throttle=True, wait=60.0), 5, State.QUEUED, 1),
        # nor does a worker's own
        (no("fenced"), 5, State.QUEUED, 1),
        (no("cancelled"), 5, State.QUEUED, 1),
        (no("connect_failed"), 6, State.FAILED, 0),
    ],
)
def test_not_sent(outcome: Outcome, tries: int, state: int, refund: int) -> None:
    final = policy.decide(replace(STEP, tries=tries), outcome)
    assert (final.state, final.refund, final.closed) == (state, refund, Closed.NOT_SENT)
    assert (final.wait is None) == (state == State.FAILED)
    assert final.reason == outcome.reason


def test_what_burns_no_try_waits_for_nothing_but_the_gate() -> None:
    assert policy.decide(STEP, no("connect_failed", wait=5.0)).wait == 0.0


def test_a_wait_that_was_asked_for_is_kept() -> None:
    assert policy.decide(STEP, no("busy", wait=77.0)).wait == 77.0


def test_waits_double_up_to_their_cap() -> None:
    for tries, base in ((1, 2), (2, 4), (3, 8), (5, 32), (12, 300), (900, 300)):
        for _ in range(20):
            assert base * 0.8 <= policy.backoff(tries) <= base * 1.2


@pytest.mark.parametrize(
    ("outcome", "parks"),
    [
        (no(), False),
        (no("connect_failed"), True),
        (no("unauthorized"), True),
        (no("x", park=True), True),
        (no("x", throttle=True), True),
        (no("busy", wait=5.0), False),
        (Outcome(Verdict.UNCLEAR, "read_timeout"), False),
        (Outcome(Verdict.UNCLEAR, "connect_failed"), False),
        (Outcome(Verdict.ACCEPTED, "accepted", provider_id="3EB0"), False),
    ],
)
def test_what_parks_an_instance(outcome: Outcome, parks: bool) -> None:
    assert policy.parks(outcome) is parks


def test_people_are_told_when_the_next_try_is() -> None:
    queued = policy.decide(STEP, no())
    assert policy.next_attempt_at(queued) is not None
    assert policy.next_attempt_at(policy.decide(STEP, no(permanent=True))) is None
    assert policy.next_attempt_at(policy.decide(STEP, Outcome(Verdict.UNCLEAR, "read_timeout"))) is None
