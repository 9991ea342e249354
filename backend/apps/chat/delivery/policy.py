"""What to write after an attempt: pure functions from an Outcome and a row to a Final.

Only what was certainly not sent is tried again. What is unclear goes to the resolver. What is the instance's trouble
(not connected, unreachable, wrong key, rate limit) burns no try: the gate parks the instance and the row waits with it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final as Constant

from django.conf import settings

from apps.chat.delivery.lane import OWN_SENDS, Final, Step
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Attempt, Delivery

State = Delivery.State
Closed = Attempt.Closed

FIRST_LOOK_SECONDS: Constant = 1.0
INSTANCE_TROUBLE: Constant = frozenset({"connect_failed", "unauthorized", "bad_address"})
# Our own decision not to send yet: waits as long as it says, and burns no try.
PUT_OFF: Constant = frozenset({"cold_cap", "cold_hold", "media_circuit"})
# Nothing was even begun.
NOT_BEGUN: Constant = frozenset({"fenced", "cancelled"})


def parks(outcome: Outcome) -> bool:
    """Does this outcome say that nothing can leave through the instance for now?"""
    return (
        outcome.park
        or outcome.throttle
        or (outcome.verdict is Verdict.NOT_SENT and outcome.reason in INSTANCE_TROUBLE)
    )


def backoff(tries: int) -> float:
    """Seconds before the next try: doubling from CHAT_RETRY_BASE_SECONDS, capped, with ±20 % of jitter."""
    wait = min(settings.CHAT_RETRY_BASE_SECONDS * 2 ** max(tries - 1, 0), settings.CHAT_RETRY_MAX_SECONDS)
    return float(wait * random.uniform(0.8, 1.2))


def decide(step: Step, outcome: Outcome) -> Final:
    """The record of one attempt's end (T3 to T6)."""
    if step.kind not in OWN_SENDS:
        return changed(step, outcome)
    if outcome.verdict is Verdict.ACCEPTED:
        return accepted(step, outcome)
    if outcome.verdict is Verdict.UNCLEAR:
        return unclear(step, outcome)
    return not_sent(step, outcome)


def changed(step: Step, outcome: Outcome) -> Final:
    """The end of an edit, a delete or a reaction. Doing it again shows nothing twice, so an unclear one is tried again.

    A reaction's answer has an id that its echo has, too; those of the others come in no echo.
    """
    if outcome.verdict is not Verdict.ACCEPTED:
        return not_sent(step, outcome)
    ended = replace(accepted(step, outcome), message=None)
    return ended if step.kind == Delivery.Kind.REACTION else replace(ended, prov=None)


def accepted(step: Step, outcome: Outcome) -> Final:
    """T4: an answer with an id is proof; it needs no fence and wins in any state."""
    return Final(
        id=step.id,
        n=step.attempts,
        fence=step.fence,
        state=State.SENT,
        message=step.message_id,
        prov=outcome.provider_id,
        closed=Closed.ACCEPTED,
        http=outcome.http_status,
        bytes_left=True,
    )


def unclear(step: Step, outcome: Outcome) -> Final:
    """T6: the attempt stays open and the resolver looks for evidence, first after a second."""
    return Final(
        id=step.id,
        n=step.attempts,
        fence=step.fence,
        state=State.VERIFYING,
        message=step.message_id,
        reason=outcome.reason,
        wait=FIRST_LOOK_SECONDS,
        http=outcome.http_status,
        bytes_left=True,
    )


def not_sent(step: Step, outcome: Outcome) -> Final:
    """T3 and T5: failed when it is permanent or tried often enough, else queued again with a wait."""
    refund = 1 if parks(outcome) or outcome.reason in PUT_OFF | NOT_BEGUN else 0
    spent = step.tries - refund >= settings.CHAT_STREAM_MAX_RETRIES
    failed = outcome.permanent or spent
    return Final(
        id=step.id,
        n=step.attempts,
        fence=step.fence,
        state=State.FAILED if failed else State.QUEUED,
        message=step.message_id,
        reason=outcome.reason,
        wait=None if failed else _wait(step, outcome, refund),
        refund=0 if failed else refund,
        closed=Closed.NOT_SENT,
        http=outcome.http_status,
        bytes_left=outcome.http_status is not None,
    )


def _wait(step: Step, outcome: Outcome, refund: int) -> float:
    if refund:
        return outcome.wait or 0.0 if outcome.reason in PUT_OFF else 0.0
    return max(outcome.wait or 0.0, backoff(step.tries))


def next_attempt_at(final: Final) -> datetime | None:
    """When the row may move again, for people to read; the row itself decides by the database's clock."""
    if final.wait is None or final.state != State.QUEUED:
        return None
    return datetime.now(UTC) + timedelta(seconds=final.wait)
