"""The protocol as a state machine over the real database: lane functions, evidence, resolver and persons, in any order.

Two workers, two lanes, few texts (so that equal ones meet). A provider remembers what it accepted. Time is moved by
ageing attempts; when it passes, what ENGINE's times promise comes true: no bytes leave later than F after a step, no
POST is accepted later than D, and what was accepted is visible. Rules come in short cuts, too (step, send and report in
one), so that the interesting states are near. TEST_SEED repeats ten examples, PROTOCOL_SECONDS lengthens the run.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from apps.chat.delivery import evidence, lane, person, resolver
from apps.chat.delivery.finalize import finalize
from apps.chat.delivery.lane import Busy, Final, Step
from apps.chat.delivery.resolver import Answer, Case
from apps.chat.errors import ChatError
from apps.chat.evolution.events import MessageEvent
from apps.chat.models import Ack, Attempt, Delivery, Worker
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    due_now,
    make_conversation,
    make_instance,
    make_message,
    make_worker,
    not_sent,
    queue,
    unclear,
)

State = Delivery.State
PASSED = 110.0  # more than SETTLE and the margin of clocks
MOST_MESSAGES = 4
TEXTS = st.sampled_from(["oi", "bom dia"])
PICK = st.integers(0, 1000)
FATES = st.sampled_from(["accepted", "refused", "rejected", "late", "lost"])


@dataclass
class Hand:
    """A step in a worker's hands, before its bytes leave. `fenced` once they may not any more."""

    step: Step
    worker: int
    seq: int
    fenced: bool = False


@dataclass
class Accepted:
    """What the provider took: whose attempt, what it said, when."""

    step: Step
    seq: int
    provider_id: str
    at: float


@dataclass
class Look:
    """A question the resolver has put, and the answer it got then."""

    step: Step
    case: Case
    answer: Answer
    age: float

    def by(self, age: float) -> tuple[Case, Answer]:
        """Both in the times of now: what is aged in the database is aged here."""
        passed = age - self.age
        moved = {
            name: getattr(self.case, name) - timedelta(seconds=passed)
            for name in ("first_step_at", "last_step_at", "asked_at")
        }
        seen = (replace(one, timestamp=(one.timestamp or 0) - int(passed)) for one in self.answer.records)
        return replace(self.case, **moved), replace(self.answer, records=tuple(seen))


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.instance = make_instance()
        self.lanes = [make_conversation(self.instance) for _ in range(2)]
        for n, conversation in enumerate(self.lanes):
            make_message(conversation, "canary", provider_id=f"CANARY{n}", ack=Ack.SEEN)
        self.workers = [make_worker().pk for _ in range(2)]
        self.rows: list[Delivery] = []
        self.hands: list[Hand] = []
        self.reports: list[Final] = []
        self.on_the_way: list[Hand] = []
        self.accepted: list[Accepted] = []
        self.looks: list[Look] = []
        self.pressed: Counter[int] = Counter()
        self.stopped: set[int] = set()
        self.age = 0.0

    # --- lanes and workers ------------------------------------------------------------------------

    @precondition(lambda self: len(self.rows) < MOST_MESSAGES)
    @rule(place=st.integers(0, 1), text=TEXTS)
    def enqueue(self, place: int, text: str) -> None:
        self.rows.append(queue(self.lanes[place], text))

    @rule(who=st.integers(0, 1), fate=st.none() | FATES, answered=st.booleans(), told=st.booleans())
    def step(self, who: int, fate: str | None, answered: bool, told: bool) -> None:
        """Without a fate the worker pauses before its bytes leave."""
        for row in lane.step([c.pk for c in self.lanes], self.workers[who]):
            assert not isinstance(row, Busy)
            self.hands.append(Hand(row, who, Delivery.objects.get(pk=row.id).seq))
            if fate is not None:
                self.post(-1, fate, answered, told)

    @precondition(lambda self: self.hands)
    @rule(which=PICK, fate=FATES, answered=st.booleans(), told=st.booleans())
    def post(self, which: int, fate: str, answered: bool, told: bool) -> None:
        """Bytes leave (or not any more); `told`: the outcome is recorded at once."""
        hand = self.hands.pop(which % len(self.hands))
        self.reports.append(self._outcome(hand, "fenced" if hand.fenced else fate, answered))
        if told:
            self.report(-1, keep=False)

    def _outcome(self, hand: Hand, fate: str, answered: bool) -> Final:
        if fate == "fenced":
            return not_sent(hand.step, reason="fenced", refund=1)
        if fate == "accepted":
            taken = self._accept(hand)
            return accepted(hand.step, taken.provider_id) if answered else unclear(hand.step)
        if fate == "rejected":
            return not_sent(hand.step, State.FAILED, reason="number_unknown")
        if fate == "refused" and answered:
            return not_sent(hand.step, reason="busy")
        if fate == "late":
            self.on_the_way.append(hand)
        return unclear(hand.step)

    @precondition(lambda self: self.on_the_way)
    @rule(which=PICK)
    def arrives_late(self, which: int) -> None:
        self._accept(self.on_the_way.pop(which % len(self.on_the_way)))

    def _accept(self, hand: Hand) -> Accepted:
        taken = Accepted(
            hand.step, hand.seq, f"3EB0{len(self.accepted):04}{self.instance.pk.hex[:8]}", self._clock()
        )
        self.accepted.append(taken)
        assert hand.step.id not in self.stopped, "accepted after a person was told that it is stopped"
        return taken

    def _clock(self) -> float:
        """The provider's clock, which ageing does not move back."""
        return lane.database_seconds() + self.age

    @precondition(lambda self: self.reports)
    @rule(which=PICK, keep=st.booleans())
    def report(self, which: int, keep: bool) -> None:
        """Late, in any order, and (kept) more than once."""
        at = which % len(self.reports)
        finalize([self.reports[at] if keep else self.reports.pop(at)])

    @precondition(lambda self: len(self.reports) > 1)
    @rule()
    def report_all_in_one_batch(self) -> None:
        finalize(self.reports)

    @rule(who=st.integers(0, 1), really=st.booleans())
    def dies(self, who: int, really: bool) -> None:
        """A worker dies, or is only taken for dead; somebody takes its rows over."""
        dead, self.workers[who] = self.workers[who], make_worker().pk
        if really:
            self.hands = [hand for hand in self.hands if hand.worker != who]
        Worker.objects.filter(pk=dead).update(stopped=True)
        lane.take_over()

    @rule()
    def time_passes(self) -> None:
        """Longer than SETTLE: unsent steps are fenced, what is on the way has arrived, waits and leases are over."""
        for hand in self.hands:
            hand.fenced = True
        while self.on_the_way:
            self._accept(self.on_the_way.pop())
        age_attempts(PASSED, instance_id=self.instance.pk)
        self.age += PASSED
        due_now(instance_id=self.instance.pk, live=True)

    # --- evidence and resolver --------------------------------------------------------------------

    @precondition(lambda self: self.accepted)
    @rule(which=PICK)
    def echo(self, which: int) -> None:
        taken = self.accepted[which % len(self.accepted)]
        evidence.bind_echo(self.instance, [taken.step.conversation_id], self._record(taken))

    def _record(self, taken: Accepted) -> MessageEvent:
        return self._event(taken.provider_id, taken.step.remote_jid, taken.step.content, taken.at - self.age)

    def _event(self, key_id: str, jid: str, text: str, at: float) -> MessageEvent:
        return MessageEvent(
            instance_name=self.instance.name,
            source_event="send.message",
            key_id=key_id,
            remote_jid=jid,
            alt_jids=(),
            from_me=True,
            participant=None,
            push_name=None,
            kind="text",
            text=text,
            quoted_id=None,
            timestamp=int(at),
            status=None,
            message_type="conversation",
            from_phone=False,
        )

    def _verifying(self) -> list[int]:
        rows = Delivery.objects.filter(instance=self.instance, state__in=(State.SENDING, State.VERIFYING))
        return list(rows.order_by("id").values_list("pk", flat=True))

    @rule(answers=st.sampled_from(["all", "no canary", "nothing"]), at_once=st.booleans())
    def asks(self, answers: str, at_once: bool) -> None:
        """The resolver claims what is due and asks; it decides at once, later, or never."""
        for step in lane.claim_verifying(self._verifying(), 0, 30.0):
            case = resolver.open_case(step)
            if case is None:
                self.reports.append(resolver.absent(step))
            else:
                self.looks.append(Look(step, case, self._answer(step, answers), self.age))
                if at_once:
                    self.decides(-1)
        due_now(instance_id=self.instance.pk, state=State.VERIFYING)

    def _answer(self, step: Step, answers: str) -> Answer:
        if answers == "nothing":
            return Answer(answered=False, canary=False)
        if answers == "no canary":  # a server that stores nothing
            return Answer(answered=True, canary=False)
        here = [t for t in self.accepted if t.step.conversation_id == step.conversation_id]
        return Answer(True, True, tuple(self._record(taken) for taken in here))

    @precondition(lambda self: self.looks)
    @rule(which=PICK)
    def decides(self, which: int) -> None:
        look = self.looks.pop(which % len(self.looks))
        case, answer = look.by(self.age)
        if resolver.bind_found(look.step, case, answer.records):
            return
        ambiguous = case.settled and evidence.has_ambiguous(look.step.id)
        final = resolver.verdict(look.step, case, answer, ambiguous)
        if finalize([final]) and final.state != State.VERIFYING:
            resolver.note(look.step, final)
        due_now(instance_id=self.instance.pk, state=State.VERIFYING)

    # --- persons ----------------------------------------------------------------------------------

    @precondition(lambda self: self.rows)
    @rule(which=PICK)
    def cancel(self, which: int) -> None:
        row = self.rows[which % len(self.rows)]
        with suppress(ChatError):
            if person.cancel(row.message_id, row.tenant_id) == "stopped":
                self.stopped.add(row.pk)

    @precondition(lambda self: self.rows)
    @rule(which=PICK, text=TEXTS)
    def edit(self, which: int, text: str) -> None:
        row = self.rows[which % len(self.rows)]
        person.edit(row.message_id, row.tenant_id, text)

    @precondition(lambda self: self.rows)
    @rule(which=PICK, send=st.booleans())
    def release(self, which: int, send: bool) -> None:
        row = self.rows[which % len(self.rows)]
        with suppress(ChatError):
            person.release(row.message_id, row.tenant_id, send=send)
            self.pressed[row.pk] += send

    @precondition(lambda self: self.rows)
    @rule(which=PICK, twice=st.booleans())
    def replay(self, which: int, twice: bool) -> None:
        row = self.rows[which % len(self.rows)]
        shown = Delivery.objects.get(pk=row.pk).failure_gen
        for _ in range(1 + twice):
            with suppress(ChatError):
                person.replay(row.message_id, row.tenant_id, shown)
                self.pressed[row.pk] += 1

    # --- what must always hold --------------------------------------------------------------------

    def _times(self, pk: int) -> int:
        return sum(taken.step.id == pk for taken in self.accepted)

    @invariant()
    def everything_that_must_hold(self) -> None:
        rows = list(
            Delivery.objects.filter(instance=self.instance)
            .order_by("seq")
            .values_list("pk", "conversation_id", "state", "live")
        )
        ended = Attempt.objects.filter(instance_id=self.instance.pk, closed__isnull=False)
        attempts = set(ended.values_list("delivery_id", "n", "closed"))
        self._never_sent_twice_unless_a_person_said_so()
        self._order_is_kept_in_each_lane()
        self._one_row_of_a_lane_is_in_flight_and_it_is_the_head(rows)
        self._what_is_sent_is_bound_and_was_accepted(rows, attempts)
        self._what_was_accepted_is_not_called_not_sent(attempts)

    def _never_sent_twice_unless_a_person_said_so(self) -> None:
        for pk, times in Counter(taken.step.id for taken in self.accepted).items():
            assert times <= 1 + self.pressed[pk], f"delivery {pk} was doubled"

    def _order_is_kept_in_each_lane(self) -> None:
        order: defaultdict[UUID, list[int]] = defaultdict(list)
        for taken in self.accepted:
            order[taken.step.conversation_id].append(taken.seq)
        assert all(seqs == sorted(seqs) for seqs in order.values()), "accepted out of order"

    def _one_row_of_a_lane_is_in_flight_and_it_is_the_head(self, rows: list[Any]) -> None:
        for conversation in self.lanes:
            states = [state for _, place, state, live in rows if live and place == conversation.pk]
            assert not any(state in (State.SENDING, State.VERIFYING) for state in states[1:])

    def _what_is_sent_is_bound_and_was_accepted(self, rows: list[Any], attempts: set[Any]) -> None:
        bound = {pk for pk, _, closed in attempts if closed == Attempt.Closed.ACCEPTED}
        sent = {pk for pk, _, state, _ in rows if state == State.SENT}
        assert sent <= bound
        assert sent <= {taken.step.id for taken in self.accepted}, "called sent but never was"

    def _what_was_accepted_is_not_called_not_sent(self, attempts: set[Any]) -> None:
        told = {(taken.step.id, taken.step.attempts) for taken in self.accepted}
        wrong = told & {(pk, n) for pk, n, closed in attempts if closed == Attempt.Closed.NOT_SENT}
        assert not wrong, f"accepted, but called not sent: {wrong}"

    def teardown(self) -> None:
        """Left alone, with honest servers, everything comes to an end: nothing is lost."""
        for _ in range(40):
            if not self._unfinished().exists():
                break
            self.report_all_in_one_batch()
            self.reports.clear()
            self.time_passes()
            self.asks("all", at_once=True)
            while self.looks:
                self.decides(0)
            self.step(0, "accepted", answered=True, told=True)
            while self.hands:
                self.post(0, "accepted", answered=True, told=True)
        assert not self._unfinished().exists(), "a lane does not come to its end"
        self.everything_that_must_hold()

    def _unfinished(self) -> Any:
        """Live rows that no held row blocks."""
        held = Delivery.objects.filter(instance=self.instance, state=State.HELD).values("conversation_id")
        return Delivery.objects.filter(instance=self.instance, live=True).exclude(conversation_id__in=held)


def run(value: int, examples: int = 10) -> None:
    print(f"TEST_SEED={value}")
    run_state_machine_as_test(
        seed(value)(Protocol),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db
@pytest.mark.timeout(3600)
def test_the_protocol_holds_in_any_order() -> None:
    """Ten examples at a time, each ten with a seed of its own, for PROTOCOL_SECONDS."""
    if given := os.environ.get("TEST_SEED"):
        run(int(given))
        return
    end = time.monotonic() + float(os.environ.get("PROTOCOL_SECONDS", "15"))
    while time.monotonic() < end:
        run(random.randrange(2**32))
