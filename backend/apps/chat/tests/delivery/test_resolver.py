"""T8 to T11: the decision as a table, the facts it rests on, and looks at a verifying row from end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.chat.delivery import lane, resolver
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.lane import Step
from apps.chat.delivery.resolver import Answer, Case, Resolver, bind_found, open_case, verdict
from apps.chat.delivery.scans import Canary
from apps.chat.evolution.client import EvolutionError
from apps.chat.evolution.events import MessageEvent
from apps.chat.evolution.queries import FindResult
from apps.chat.models import (
    Ack,
    Attempt,
    Contact,
    ContactJid,
    Conversation,
    Delivery,
    Evidence,
    Instance,
    Message,
)
from apps.chat.tests.delivery.test_policy import STEP
from apps.chat.tests.factories import (
    accepted,
    age_attempts,
    claim,
    due_now,
    echo,
    make_conversation,
    make_instance,
    make_message,
    make_tenant,
    not_sent,
    queue,
    stepped,
    unclear,
    write,
)

State, Closed = Delivery.State, Attempt.Closed

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOOK = replace(STEP, state=State.VERIFYING, checks=3, reason="read_timeout", tries=1)


def case(after: float = 96, gate: int = Instance.Gate.OPEN, **values: Any) -> Case:
    """A case whose question is asked `after` seconds after the last step."""
    given: dict[str, Any] = {
        "instance": Instance(gate=gate),
        "addresses": ("5511900000000@s.whatsapp.net",),
        "first_step_at": NOON,
        "last_step_at": NOON,
        "asked_at": NOON + timedelta(seconds=after),
        "doubtful": False,
        "canary": Canary("3EB0CANARY", NOON, UUID(int=1)),
        "canary_here": True,
        **values,
    }
    return Case(**given)


YES, NO_CANARY, SILENT = Answer(True, True), Answer(True, False), Answer(False, False)

# mode, case, answer, ambiguous, looks -> state, reason
TABLE = {
    "not settled": ("verified", case(94), YES, False, 3, State.VERIFYING, "read_timeout"),
    "not settled by a hair": ("verified", case(95), YES, False, 3, State.VERIFYING, "read_timeout"),
    "settled and canary": ("verified", case(), YES, False, 3, State.QUEUED, "not_sent_after_check"),
    "no canary": ("verified", case(), NO_CANARY, False, 3, State.HELD, "evidence_missing"),
    "ambiguous": ("verified", case(), YES, True, 3, State.HELD, "evidence_ambiguous"),
    "doubtful": ("verified", case(doubtful=True), YES, False, 3, State.HELD, "evidence_missing"),
    "silent, few looks": ("verified", case(), SILENT, False, 4, State.VERIFYING, "read_timeout"),
    "silent, enough looks": ("verified", case(), SILENT, False, 5, State.HELD, "evidence_missing"),
    "silent, parked": ("verified", case(gate=1), SILENT, False, 99, State.VERIFYING, "read_timeout"),
    "parked but answers": ("verified", case(gate=1), YES, False, 3, State.QUEUED, "not_sent_after_check"),
    "once: proven absent": ("at_most_once", case(), YES, False, 3, State.HELD, "not_sent_after_check"),
    "once: no canary": ("at_most_once", case(), NO_CANARY, False, 3, State.HELD, "evidence_missing"),
    "once: ambiguous": ("at_most_once", case(), YES, True, 3, State.HELD, "evidence_ambiguous"),
    "once: not settled": ("at_most_once", case(94), YES, False, 3, State.VERIFYING, "read_timeout"),
    "least: proven absent": ("at_least_once", case(), YES, False, 3, State.QUEUED, "not_sent_after_check"),
    "least: no canary": ("at_least_once", case(), NO_CANARY, False, 3, State.QUEUED, "not_sent_after_check"),
    "least: ambiguous": ("at_least_once", case(), YES, True, 3, State.QUEUED, "not_sent_after_check"),
    "least: not settled": ("at_least_once", case(94), YES, False, 3, State.VERIFYING, "read_timeout"),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_the_verdict_after_a_look_that_found_no_proof(row: tuple[Any, ...]) -> None:
    mode, facts, answer, ambiguous, checks, state, reason = row
    final = verdict(replace(LOOK, mode=mode, checks=checks), facts, answer, ambiguous)
    assert (final.state, final.reason) == (state, reason)
    assert final.fence == LOOK.fence
    assert final.closed == (Closed.NOT_SENT if state == State.QUEUED else None)


def test_absence_at_the_cap_fails() -> None:
    final = verdict(replace(LOOK, tries=5), case(), YES, False)
    assert (final.state, final.reason, final.wait) == (State.FAILED, "not_sent_after_check", None)


def test_the_next_look_comes_later_and_later_but_never_after_it_settles() -> None:
    waits = [verdict(replace(LOOK, checks=n), case(2), YES, False).wait for n in range(1, 8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert verdict(LOOK, case(93), YES, False).wait == pytest.approx(2.1)


def test_every_open_attempt_must_have_settled() -> None:
    facts = case(96, last_step_at=NOON + timedelta(seconds=30))
    assert verdict(LOOK, facts, YES, False).state == State.VERIFYING


# --- the facts ------------------------------------------------------------------------------------


@pytest.fixture
def conversation(db: None) -> Conversation:
    return make_conversation(number="5511987654321")


def verifying(conversation: Conversation, text: str | None = None) -> Step:
    """A delivery in the resolver's hands."""
    row = queue(conversation, text)
    write(unclear(stepped(conversation)))
    step = claim(row)
    assert step is not None
    return step


def delivery(step: Step) -> Delivery:
    return Delivery.objects.select_related("message", "conversation", "instance").get(pk=step.id)


def facts_of(step: Step) -> Case:
    found = open_case(step)
    assert found is not None
    return found


def sent_here(conversation: Conversation, provider_id: str, **values: Any) -> Message:
    return make_message(conversation, provider_id=provider_id, ack=Ack.SENT, **values)


def test_without_an_open_attempt_there_is_no_case(conversation: Conversation) -> None:
    step = verifying(conversation)
    Attempt.objects.update(closed=Closed.NOT_SENT)
    assert open_case(step) is None


def test_a_case_spans_its_open_attempts(conversation: Conversation) -> None:
    step = verifying(conversation)
    age_attempts(50)
    Attempt.objects.create(
        delivery_id=step.id,
        conversation_id=step.conversation_id,
        instance_id=step.instance_id,
        n=2,
        fence=9,
        fingerprint="x",
    )
    facts = facts_of(step)
    assert 45 < (facts.last_step_at - facts.first_step_at).total_seconds() < 60
    assert not facts.settled
    assert 90 < facts.settles_in <= 95.001  # SQLite counts days: its clock is good to some 0.05 ms


def test_a_case_is_settled_by_the_databases_clock(conversation: Conversation) -> None:
    step = verifying(conversation)
    assert not facts_of(step).settled
    age_attempts(96)
    assert facts_of(step).settled
    assert facts_of(step).settles_in == 0


def test_a_failure_after_the_send_makes_silence_worthless(conversation: Conversation) -> None:
    step = verifying(conversation)
    assert not facts_of(step).doubtful
    Attempt.objects.update(reason="failed_after_send")
    assert facts_of(step).doubtful


def test_the_canary_is_our_last_message_here_that_surely_went_out(conversation: Conversation) -> None:
    step = verifying(conversation)
    assert facts_of(step).canary is None
    elsewhere = make_conversation(conversation.instance)
    sent_here(elsewhere, "3EB0ELSEWHERE")
    assert canary_of(step) == ("3EB0ELSEWHERE", False)
    sent_here(conversation, "3EB0OLD", sort_at=datetime.now(UTC) - timedelta(hours=1))
    sent_here(conversation, "3EB0HERE")
    make_message(conversation, provider_id="3EB0UNSURE", ack=Ack.NONE)
    make_message(
        conversation, provider_id="3EB0THEIRS", ack=Ack.SEEN, direction="incoming", origin="customer"
    )
    sent_here(make_conversation(), "3EB0STRANGER")
    assert canary_of(step) == ("3EB0HERE", True)


def canary_of(step: Step) -> tuple[str, bool]:
    facts = facts_of(step)
    assert facts.canary is not None
    return facts.canary.provider_id, facts.canary_here


def test_a_canary_is_as_old_as_its_step_though_its_answer_was_lost(conversation: Conversation) -> None:
    """Guard: by `sent_at`, the time we learnt of it, the question begins after WhatsApp's time of it and misses it."""
    first = verifying(conversation)
    age_attempts(60)
    record = echo(delivery(first), "3EB0LATE", timestamp=int(lane.database_seconds()) - 59)
    assert found(first, record) is True  # its `sent_at` is now
    step_at = Attempt.objects.get(provider_id="3EB0LATE").step_at
    canary = facts_of(verifying(conversation)).canary
    assert canary is not None
    assert (canary.provider_id, canary.at) == ("3EB0LATE", step_at)


def test_every_spelling_of_a_brazilian_number_is_asked_for(conversation: Conversation) -> None:
    contact = Contact.objects.get(pk=conversation.contact_id)
    ContactJid.objects.create(tenant_id=contact.tenant_id, contact=contact, key="1@lid", jid="1@lid")
    assert set(facts_of(verifying(conversation)).addresses) == {
        "5511987654321@s.whatsapp.net",
        "551187654321@s.whatsapp.net",
        "1@lid",
    }


# --- what was found -------------------------------------------------------------------------------


def found(step: Step, *records: MessageEvent) -> bool:
    return bind_found(step, facts_of(step), records)


def test_a_record_that_can_only_be_ours_proves_it(conversation: Conversation) -> None:
    step = verifying(conversation)
    assert found(step, echo(delivery(step), "3EB0X")) is True
    assert delivery(step).state == State.SENT


def test_records_older_than_the_first_step_are_not_looked_at(conversation: Conversation) -> None:
    step = verifying(conversation)
    old = echo(delivery(step), timestamp=int(lane.database_seconds()) - 60)
    untimed = echo(delivery(step), timestamp=None)
    assert found(step, old, untimed) is False
    assert not Evidence.objects.exists()


def test_a_record_of_the_phone_proves_nothing(conversation: Conversation) -> None:
    step = verifying(conversation)
    assert found(step, echo(delivery(step), from_phone=True)) is False
    assert delivery(step).state == State.VERIFYING


def test_a_record_under_another_spelling_is_found(conversation: Conversation) -> None:
    step = verifying(conversation)
    assert found(step, echo(delivery(step), remote_jid="551187654321@s.whatsapp.net")) is True


def test_anothers_proof_is_bound_on_the_way(conversation: Conversation) -> None:
    """The page shows an older unclear row's record, too: proof is proof, and the question stays open."""
    other = make_conversation(conversation.instance)
    theirs = queue(other)
    write(unclear(stepped(other)))
    step = verifying(conversation)
    assert found(step, echo(theirs, "3EB0THEIRS")) is False
    theirs.refresh_from_db()
    assert theirs.state == State.SENT


def test_one_record_proves_one_of_two_equal_texts(conversation: Conversation) -> None:
    """The first is known as not sent, the second is open: open comes first."""
    first = queue(conversation, "oi")
    write(not_sent(stepped(conversation), State.FAILED))
    step = verifying(conversation, "oi")
    assert found(step, echo(delivery(step), "3EB0X")) is True
    first.refresh_from_db()
    assert first.state == State.FAILED


def test_acks_that_waited_for_a_found_id_are_taken(conversation: Conversation) -> None:
    step = verifying(conversation)
    Evidence.objects.create(instance=conversation.instance, provider_id="3EB0X", ack=Ack.DELIVERED)
    found(step, echo(delivery(step), "3EB0X"))
    assert delivery(step).message.ack == Ack.DELIVERED


def sent_before(conversation: Conversation, provider_id: str) -> Message:
    row = queue(conversation, "antes")
    write(accepted(stepped(conversation), provider_id))
    return Message.objects.get(pk=row.message_id)


def test_what_is_known_already_costs_no_query_each(conversation: Conversation) -> None:
    for n in range(30):
        sent_before(conversation, f"3EB0KNOWN{n}")
    step = verifying(conversation)
    known = [echo(delivery(step), f"3EB0KNOWN{n}", text="antes") for n in range(30)]
    foreign = [echo(delivery(step), f"3EB0OTHER{n}", text=f"de outro {n}") for n in range(60)]
    case = facts_of(step)
    with CaptureQueriesContext(connection) as queries:
        assert not bind_found(step, case, (*known, *foreign))
    assert len(queries) <= 5


def test_an_ack_that_no_webhook_brought_is_taken_from_a_record(conversation: Conversation) -> None:
    message = sent_before(conversation, "3EB0KNOWN")
    step = verifying(conversation)
    assert not found(step, replace(echo(delivery(step), "3EB0KNOWN", text="antes"), status=Ack.SEEN))
    message.refresh_from_db()
    assert message.ack == Ack.SEEN


def test_absence_closes_every_attempt_that_was_open(conversation: Conversation) -> None:
    step = verifying(conversation)
    Attempt.objects.create(
        delivery_id=step.id,
        conversation_id=step.conversation_id,
        instance_id=step.instance_id,
        n=0,
        fence=0,
        fingerprint="x",
    )
    final = resolver.absent(step)
    write(final)
    resolver.note(step, final)
    assert not Attempt.objects.filter(closed__isnull=True).exists()


def test_a_hold_leaves_attempts_open_for_late_proof(conversation: Conversation) -> None:
    step = verifying(conversation)
    final = verdict(
        step, replace(facts_of(step), asked_at=datetime.now(UTC) + timedelta(hours=1)), NO_CANARY, False
    )
    write(final)
    resolver.note(step, final)
    assert delivery(step).state == State.HELD
    assert Attempt.objects.get().closed is None
    assert found(step, echo(delivery(step))) is True


# --- from end to end ------------------------------------------------------------------------------


class Evolution:
    """Answers findMessages with records, or with an error; remembers what it was asked."""

    def __init__(
        self, *records: MessageEvent, error: EvolutionError | None = None, pages: int = 1, unread: int = 0
    ) -> None:
        self.records, self.error, self.pages, self.unread = records, error, pages, unread
        self.asked: list[dict[str, Any]] = []

    async def find_messages(self, ref: object, **question: Any) -> FindResult:
        self.asked.append(question)
        if self.error:
            raise self.error
        return FindResult(list(self.records), len(self.records), self.pages, self.unread)


@pytest.fixture
async def look(transactional_db: None) -> Any:
    """look(delivery, evolution): one look of a resolver; the lanes it said may move."""
    database = DatabaseThread(lambda: 7)

    async def run(row: Delivery, evolution: Evolution) -> list[UUID]:
        moved: list[UUID] = []
        one = Resolver(database, evolution, lambda: 7, lambda lane_id, _: moved.append(lane_id))  # type: ignore[arg-type]
        one.add(row.pk, row.instance_id)
        one.add(row.pk, row.instance_id)
        assert len(one._tasks) == 1
        await next(iter(one._tasks.values()))
        return moved

    yield run
    database.stop()


def unclear_row(mode: str = "", settled: bool = True, canary: bool = True) -> Delivery:
    conversation = make_conversation(make_instance(make_tenant(mode)))
    if canary:
        sent_here(conversation, "3EB0CANARY")
    row = queue(conversation)
    write(unclear(stepped(conversation)))
    if settled:
        age_attempts(96)
    return row


def another_unclear(row: Delivery) -> Delivery:
    conversation = make_conversation(row.instance)
    other = queue(conversation)
    write(unclear(stepped(conversation)))
    age_attempts(96)
    return other


def fresh(row: Delivery) -> Delivery:
    return Delivery.objects.select_related("message").get(pk=row.pk)


canary_record: Callable[[Delivery], MessageEvent] = lambda row: echo(row, "3EB0CANARY", text="antes")  # noqa: E731


@pytest.mark.django_db(transaction=True)
class TestALook:
    async def test_absent_with_the_canary_in_the_answer_is_queued_again(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        record = await sync_to_async(canary_record)(row)
        assert await look(row, Evolution(record)) == [row.conversation_id]
        after = await sync_to_async(fresh)(row)
        assert (after.state, after.reason) == (State.QUEUED, "not_sent_after_check")

    async def test_absent_without_the_canary_is_held(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        await look(row, Evolution())
        assert (await sync_to_async(fresh)(row)).state == State.HELD

    async def test_found_is_sent_before_it_has_settled(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)(settled=False)
        record = await sync_to_async(echo)(row)
        assert await look(row, Evolution(record)) == [row.conversation_id]
        assert (await sync_to_async(fresh)(row)).state == State.SENT

    async def test_not_found_and_not_settled_is_looked_at_again(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)(settled=False)
        record = await sync_to_async(canary_record)(row)
        assert await look(row, Evolution(record)) == []
        after = await sync_to_async(fresh)(row)
        assert (after.state, after.checks, after.owner_id) == (State.VERIFYING, 1, None)

    async def test_parked_evidence_with_our_words_holds_it(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        await Evidence.objects.acreate(
            instance_id=row.instance_id,
            provider_id="3EB0P",
            conversation_id=row.conversation_id,
            fingerprint=row.fingerprint,
        )
        record = await sync_to_async(canary_record)(row)
        await look(row, Evolution(record))
        after = await sync_to_async(fresh)(row)
        assert (after.state, after.reason) == (State.HELD, "evidence_ambiguous")

    async def test_no_answer_is_asked_again_and_held_at_last(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        error = EvolutionError("server_error", permanent=False, status=500, where="find messages")
        for _ in range(resolver.LOOKS_WITHOUT_ANSWER):
            assert (await sync_to_async(fresh)(row)).state == State.VERIFYING
            await sync_to_async(due_now)()
            await look(row, Evolution(error=error))
        after = await sync_to_async(fresh)(row)
        assert (after.state, after.reason) == (State.HELD, "evidence_missing")

    async def test_a_row_without_an_open_attempt_was_not_sent(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        await Attempt.objects.aupdate(closed=Closed.NOT_SENT)
        evolution = Evolution()
        assert await look(row, evolution) == [row.conversation_id]
        assert (await sync_to_async(fresh)(row)).state == State.QUEUED
        assert evolution.asked == []

    async def test_the_canary_of_another_chat_is_asked_of_the_whole_instance(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)(canary=False)
        other = await sync_to_async(make_conversation)(row.instance)
        await sync_to_async(sent_here)(other, "3EB0CANARY")
        evolution = Evolution(await sync_to_async(canary_record)(row))
        await look(row, evolution)
        assert [question["remote_jid"] for question in evolution.asked] == [""]

    async def test_every_page_is_asked_for(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        evolution = Evolution(pages=3)
        await look(row, evolution)
        pages = [question["page"] for question in evolution.asked]
        assert pages == [1, 2, 3] * (len(pages) // 3)

    async def test_more_pages_than_are_read_prove_no_absence(self, look: Any) -> None:
        """What was not read may be the missing one."""
        row = await sync_to_async(unclear_row)()
        record = await sync_to_async(canary_record)(row)
        await look(row, Evolution(record, pages=resolver.MOST_PAGES + 1))
        assert (await sync_to_async(fresh)(row)).state == State.HELD

    async def test_rows_that_cannot_be_read_prove_no_absence(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        record = await sync_to_async(canary_record)(row)
        await look(row, Evolution(record, unread=1))
        assert (await sync_to_async(fresh)(row)).state == State.HELD

    async def test_the_question_spans_the_canary_and_the_first_step(self, look: Any) -> None:
        row = await sync_to_async(unclear_row)()
        evolution = Evolution()
        await look(row, evolution)
        attempt = await Attempt.objects.aget()
        canary = await Message.objects.aget(provider_id="3EB0CANARY")
        assert all(question["gte"] < min(attempt.step_at, canary.created_at) for question in evolution.asked)
        assert all(question["lte"] > datetime.now(UTC) for question in evolution.asked)

    async def test_an_instance_that_hangs_leaves_room_for_others(self, transactional_db: None) -> None:
        """Guard: half of the slots at most. Without it one silent Evolution keeps every number's unclear messages."""
        silent = await sync_to_async(unclear_row)()
        sibling = await sync_to_async(another_unclear)(silent)
        other = await sync_to_async(unclear_row)()
        record = await sync_to_async(canary_record)(other)
        hanging = asyncio.Event()

        class Silent(Evolution):
            async def find_messages(self, ref: Any, **question: Any) -> FindResult:
                if ref.name == silent.instance.name:
                    await hanging.wait()
                return await super().find_messages(ref, **question)

        database = DatabaseThread(lambda: 7)
        one = Resolver(database, Silent(record), lambda: 7, lambda *_: None, concurrency=2)  # type: ignore[arg-type]
        for row in (silent, sibling, other):
            one.add(row.pk, row.instance_id)
        try:
            async with asyncio.timeout(10):
                await one._tasks[other.pk]
            assert (await sync_to_async(fresh)(other)).state == State.QUEUED
        finally:
            hanging.set()
            await asyncio.gather(*one._tasks.values())
            database.stop()
