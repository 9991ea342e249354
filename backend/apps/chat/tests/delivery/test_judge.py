"""Rows of the failure list that need counting or a question: E2, E5, E9, E11, E14, E16."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from apps.chat.delivery import gate, judge, policy
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.judge import Judge
from apps.chat.delivery.lane import Step
from apps.chat.evolution.client import EvolutionError
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.evolution.queries import NumberCheck
from apps.chat.models import Attempt, ContactJid, Conversation, Delivery, Instance
from apps.chat.redis_clients import close_async_clients
from apps.chat.tests.delivery.test_cold import Here
from apps.chat.tests.delivery.test_policy import STEP
from apps.chat.tests.delivery.threads import in_thread
from apps.chat.tests.factories import due_now, make_conversation, make_instance, queue, stepped, write

State = Delivery.State
pytestmark = pytest.mark.django_db
NOT_THERE = Outcome(Verdict.NOT_SENT, "not_on_whatsapp", permanent=True, http_status=400)
SLOW_LOOKUP = Outcome(Verdict.NOT_SENT, "lookup_timed_out", wait=15, scope="instance")


class Evolution:
    """Knows some numbers and groups; asked for others it says no, or fails."""

    def __init__(self, known: dict[str, str] | None = None, error: Exception | None = None) -> None:
        self.known, self.error = known or {}, error
        self.asked: list[Any] = []

    async def whatsapp_numbers(self, ref: object, numbers: Any) -> list[NumberCheck]:
        self.asked.append(tuple(numbers))
        if self.error:
            raise self.error
        answers = [
            NumberCheck(number, number in self.known, self.known.get(number), None, None)
            for number in numbers
        ]
        return answers[::-1]

    async def group_info(self, ref: object, jid: str) -> None:
        self.asked.append(jid)
        if self.error:
            raise self.error


def a_judge(evolution: Evolution | None = None) -> Judge:
    return Judge(Here(), evolution or Evolution())  # type: ignore[arg-type]


def run(work: Any) -> Any:
    """`Here` works in this thread, where the test's connection is; the coroutine never really waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def judged(one: Judge, step: Step, outcome: Outcome, began: float | None = None) -> Outcome:
    return run(one.judge(step, outcome, time.monotonic() if began is None else began))


def again(step: Step, outcome: Outcome) -> Step:
    """The same delivery's next step, after this one ended so."""
    assert write(policy.decide(step, outcome)) == {step.id: State.QUEUED}
    due_now(pk=step.id)
    conversation = Conversation.objects.get(pk=step.conversation_id)
    return stepped(conversation)


def a_step(number: str = "5511987654321") -> Step:
    return stepped(queue(make_conversation(number=number)).conversation)


# --- the same answer again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "tries"), [("no_sessions", 3), ("media_upload_failed", 4), ("media_fetch_failed", 2)]
)
def test_after_so_many_times_it_is_final(reason: str, tries: int) -> None:
    one, step, outcome = a_judge(), a_step(), Outcome(Verdict.NOT_SENT, reason, wait=5)
    for _ in range(tries - 1):
        assert judged(one, step, outcome) == outcome
        step = again(step, outcome)
    last = judged(one, step, outcome)
    assert last.permanent
    assert policy.decide(step, last).state == State.FAILED


def test_other_troubles_in_between_do_not_count() -> None:
    one, step = a_judge(), a_step()
    for _ in range(3):
        step = again(step, Outcome(Verdict.NOT_SENT, "busy", wait=1))
    assert not judged(one, step, Outcome(Verdict.NOT_SENT, "no_sessions", wait=5)).permanent


def test_three_groups_without_sessions_are_the_number_s_trouble(caplog: pytest.LogCaptureFixture) -> None:
    one, outcome = a_judge(), Outcome(Verdict.NOT_SENT, "no_sessions", wait=5)
    one._database = Here()
    instance = make_instance()
    for n in range(3):
        step = stepped(queue(make_conversation(instance)).conversation)
        for _ in range(2):
            step = again(step, outcome)
        judged(one, step, outcome)
        errors = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == (n == 2)


def test_what_cannot_be_found_out_changes_nothing() -> None:
    one = a_judge()

    async def away(function: Any) -> Any:
        raise OSError("away")

    one._database.call = away  # type: ignore[method-assign]
    for outcome in (NOT_THERE, Outcome(Verdict.NOT_SENT, "no_sessions")):
        assert judged(one, STEP, outcome) == outcome


# --- E2: the number in another spelling ------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "known"),
    [
        ("5511987654321", "551187654321"),
        ("551187654321", "5511987654321"),
        ("5215512345678", "525512345678"),
        ("5491112345678", "541112345678"),
    ],
)
def test_a_number_known_in_another_spelling_is_tried_once_more_there(number: str, known: str) -> None:
    evolution = Evolution({known: f"{known}@s.whatsapp.net"})
    one, step = a_judge(evolution), a_step(number)
    found = judged(one, step, NOT_THERE)
    assert (found.verdict, found.reason, found.permanent) == (Verdict.NOT_SENT, "number_rechecked", False)
    assert number in evolution.asked[0]
    assert known in evolution.asked[0]
    second = again(step, found)
    assert second.remote_jid == f"{known}@s.whatsapp.net"
    assert judged(one, second, NOT_THERE) == NOT_THERE, "once"
    assert len(evolution.asked) == 1


def test_a_number_that_nobody_knows_fails() -> None:
    step = a_step()
    assert judged(a_judge(), step, NOT_THERE) == NOT_THERE
    assert policy.decide(step, NOT_THERE).state == State.FAILED


def test_a_check_that_was_wrong_is_repeated_at_the_same_address() -> None:
    evolution = Evolution({"5511987654321": "5511987654321@s.whatsapp.net"})
    step = a_step("5511987654321")
    found = judged(a_judge(evolution), step, NOT_THERE)
    assert again(step, found).remote_jid == step.remote_jid


def test_digits_of_a_lid_are_sent_to_the_lid() -> None:
    evolution = Evolution()
    step = a_step("987654321098765")
    conversation = Conversation.objects.get(pk=step.conversation_id)
    lid = "987654321098765@lid"
    ContactJid.objects.create(
        tenant_id=conversation.tenant_id, contact_id=conversation.contact_id, key=lid, jid=lid
    )
    found = judged(a_judge(evolution), step, NOT_THERE)
    assert again(step, found).remote_jid == lid
    assert evolution.asked == []


def test_a_question_without_answer_is_put_again_later() -> None:
    failing = Evolution(error=EvolutionError("connect_failed", permanent=False, status=None))
    outcome = judged(a_judge(failing), a_step(), NOT_THERE)
    assert (outcome.reason, outcome.permanent, outcome.wait) == ("not_on_whatsapp", False, 15.0)


def test_there_must_be_time_left_to_ask() -> None:
    evolution = Evolution()
    outcome = judged(a_judge(evolution), a_step(), NOT_THERE, time.monotonic() - 70)
    assert not outcome.permanent
    assert evolution.asked == []


def test_groups_are_not_looked_up() -> None:
    evolution = Evolution()
    step = replace(a_step(), remote_jid="12036304@g.us")
    assert judged(a_judge(evolution), step, NOT_THERE) == NOT_THERE
    assert evolution.asked == []


# --- E11 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (None, False),
        (EvolutionError("group_not_found", permanent=True, status=404), True),
        (EvolutionError("connect_failed", permanent=False, status=None), False),
    ],
)
def test_a_group_is_asked_for_and_given_up_only_when_it_is_gone(
    error: Exception | None, permanent: bool
) -> None:
    step = replace(STEP, remote_jid="12036304@g.us")
    outcome = Outcome(Verdict.NOT_SENT, "group_unreachable", wait=30)
    result = judged(a_judge(Evolution(error=error)), step, outcome)
    assert result.permanent is permanent
    assert result.reason == ("group_not_found" if permanent else "group_unreachable")


# --- E5 --------------------------------------------------------------------------------------------


def test_lookups_that_time_out_twice_in_a_row_park() -> None:
    one, step = a_judge(), a_step()
    other = replace(step, id=step.id + 1, attempts=1)
    assert run(one.parks(step, SLOW_LOOKUP)) is False
    assert run(one.parks(other, SLOW_LOOKUP)) is True
    assert run(one.parks(step, SLOW_LOOKUP)) is False, "counted anew"


def test_anything_else_in_between_starts_the_count_anew() -> None:
    one, step = a_judge(), a_step()
    for _ in range(3):
        assert run(one.parks(step, SLOW_LOOKUP)) is False
        assert run(one.parks(step, Outcome(Verdict.ACCEPTED, "accepted", provider_id="X"))) is False


def test_the_same_message_twice_is_twice_in_another_process_too() -> None:
    step = again(a_step(), SLOW_LOOKUP)
    assert run(a_judge().parks(step, SLOW_LOOKUP)) is True


@pytest.mark.django_db(transaction=True)
async def test_a_number_that_is_never_looked_up_fails_in_the_end(
    redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance is parked for a moment; the message's tries count all the same, or it would block for ever."""
    settings.CHAT_SWEEP_INTERVAL_SECONDS = 60
    settings.CHAT_STREAM_MAX_RETRIES = 3

    async def slow(*_: object) -> Outcome:
        return SLOW_LOOKUP

    monkeypatch.setattr("apps.chat.delivery.sender.send", slow)

    def prepare() -> Conversation:
        return queue(make_conversation(make_instance())).conversation

    def next_step() -> Step:
        due_now()
        gate.reopen(conversation.instance_id, "test")
        return stepped(conversation)

    conversation = await asyncio.to_thread(in_thread, prepare)
    gates = []
    async with Engine() as engine:
        for _ in range(3):
            step = await asyncio.to_thread(in_thread, next_step)
            await engine.deliver(step, time.monotonic())
            gates.append(await asyncio.to_thread(in_thread, lambda: Instance.objects.get().gate))
    row = await asyncio.to_thread(in_thread, Delivery.objects.get)
    assert (row.state, row.reason) == (State.FAILED, "lookup_timed_out")
    assert gates[:2] == [Instance.Gate.OPEN, Instance.Gate.PARKED]
    assert await asyncio.to_thread(in_thread, lambda: Attempt.objects.count()) == 3
    await close_async_clients()


def test_times_counts_one_reason_of_one_delivery() -> None:
    step = again(a_step(), SLOW_LOOKUP)
    assert judge.times(step.id, "lookup_timed_out") == 1
    assert judge.times(step.id, "no_sessions") == 0
