"""Absence read from what a whole instance sent: one scan for all rows it can answer, and for no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from apps.chat.delivery import scans
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.resolver import Resolver
from apps.chat.evolution.events import MessageEvent
from apps.chat.evolution.queries import FindResult
from apps.chat.models import Ack, Attempt, Conversation, Delivery, Instance
from apps.chat.tests.factories import (
    age_attempts,
    echo,
    make_conversation,
    make_instance,
    make_message,
    make_tenant,
    queue,
    stepped,
    unclear,
    write,
)

State = Delivery.State
CANARY = "3EB0CANARY"
pytestmark = pytest.mark.django_db(transaction=True)


class Evolution:
    """Answers every page with the same records; counts questions, and can be held up."""

    def __init__(self, *records: MessageEvent, pages: int = 1) -> None:
        self.records, self.pages = list(records), pages
        self.asked: list[dict[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def find_messages(self, ref: object, **question: Any) -> FindResult:
        self.asked.append(question)
        await self.may_answer.wait()
        return FindResult(list(self.records), len(self.records), self.pages, 0)


@pytest.fixture
async def database() -> AsyncIterator[DatabaseThread]:
    thread = DatabaseThread(lambda: 7)
    yield thread
    thread.stop()


def resolver(database: DatabaseThread, evolution: Evolution) -> Resolver:
    return Resolver(database, evolution, lambda: 7, lambda *_: None)  # type: ignore[arg-type]


async def looked(one: Resolver, rows: list[Delivery]) -> None:
    for row in rows:
        one.add(row.pk, row.instance_id)
    await asyncio.gather(*one._tasks.values())


def unclear_in_new_chats(count: int, *, aged: float = 96) -> tuple[list[Delivery], MessageEvent]:
    """Rows in chats where nothing of ours ever arrived, on a number that has sent something elsewhere."""
    instance = make_instance(make_tenant())
    known = make_conversation(instance)
    sure = make_message(known, provider_id=CANARY, ack=Ack.SUBMITTED)
    rows = [_unclear(instance) for _ in range(count)]
    age_attempts(aged)
    return rows, echo(Delivery(message=sure, conversation=known, instance=instance), CANARY, text="antes")


def _unclear(instance: Instance) -> Delivery:
    conversation = make_conversation(instance)
    row = queue(conversation)
    write(unclear(stepped(conversation)))
    return row


def states(rows: list[Delivery]) -> set[int]:
    return set(Delivery.objects.filter(pk__in=[row.pk for row in rows]).values_list("state", flat=True))


async def test_rows_that_became_unclear_together_are_told_by_one_scan(database: DatabaseThread) -> None:
    rows, canary = await sync_to_async(unclear_in_new_chats)(20)
    evolution = Evolution(canary)
    await looked(resolver(database, evolution), rows)
    assert [question["remote_jid"] for question in evolution.asked] == [""]
    assert await sync_to_async(states)(rows) == {State.QUEUED}


async def test_a_scan_that_began_before_a_row_had_settled_says_nothing_of_it(
    database: DatabaseThread,
) -> None:
    """Guard: `Scan.covers` asks when the question was put. Without it a message on its way is taken for absent."""
    rows, canary = await sync_to_async(unclear_in_new_chats)(2)
    late = rows.pop()
    evolution = Evolution(canary)
    evolution.may_answer.clear()
    one = resolver(database, evolution)
    first = asyncio.create_task(looked(one, rows))
    async with asyncio.timeout(5):
        while not evolution.asked:
            await asyncio.sleep(0.01)
    settle = timedelta(seconds=settings.CHAT_SEND_SETTLE_SECONDS)
    await Attempt.objects.filter(delivery=late).aupdate(step_at=Now() - settle)  # it settles just now
    second = asyncio.create_task(looked(one, [late]))
    await asyncio.sleep(0.2)
    evolution.may_answer.set()
    await asyncio.gather(first, second)
    assert len(evolution.asked) == 2


async def test_a_scan_reaches_back_to_the_rows_that_wait_already(database: DatabaseThread) -> None:
    rows, canary = await sync_to_async(unclear_in_new_chats)(2)
    earlier = timedelta(seconds=60)
    await Attempt.objects.filter(delivery=rows[0]).aupdate(step_at=F("step_at") - earlier)
    evolution = Evolution(canary)
    one = resolver(database, evolution)
    await looked(one, [rows[1]])
    await looked(one, [rows[0]])
    assert len(evolution.asked) == 1
    assert await sync_to_async(states)(rows) == {State.QUEUED}


async def test_a_scan_that_does_not_reach_back_far_enough_is_made_anew(database: DatabaseThread) -> None:
    """Guard: `Scan.covers` asks how far it reaches. Without it a record before its beginning is never seen."""
    rows, canary = await sync_to_async(unclear_in_new_chats)(2)
    await Attempt.objects.filter(delivery=rows[0]).aupdate(step_at=F("step_at") - timedelta(seconds=600))
    evolution = Evolution(canary)
    one = resolver(database, evolution)
    await looked(one, [rows[1]])
    await looked(one, [rows[0]])
    assert len(evolution.asked) == 2
    step_at = (await Attempt.objects.aget(delivery=rows[0])).step_at
    assert evolution.asked[1]["gte"] < step_at


async def test_what_was_filed_under_an_unknown_address_is_found(database: DatabaseThread) -> None:
    """Evolution files sends under a LID once it knows one; asking for the number alone would show nothing."""
    rows, canary = await sync_to_async(unclear_in_new_chats)(1)
    hidden = await sync_to_async(echo)(rows[0], "3EB0HIDDEN", remote_jid="123456789012345@lid", alt_jids=())
    await looked(resolver(database, Evolution(canary, hidden)), rows)
    assert await sync_to_async(states)(rows) == {State.HELD}


async def test_more_than_can_be_read_proves_no_absence(
    database: DatabaseThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "MOST_PAGES", 3)
    rows, canary = await sync_to_async(unclear_in_new_chats)(1)
    await looked(resolver(database, Evolution(canary, pages=4)), rows)
    assert await sync_to_async(states)(rows) == {State.HELD}


async def test_no_scan_is_made_before_absence_could_count(database: DatabaseThread) -> None:
    rows, canary = await sync_to_async(unclear_in_new_chats)(1, aged=5)
    evolution = Evolution(canary)
    await looked(resolver(database, evolution), rows)
    assert "" not in [question["remote_jid"] for question in evolution.asked]
    assert await sync_to_async(states)(rows) == {State.VERIFYING}


async def test_two_numbers_have_scans_of_their_own(database: DatabaseThread) -> None:
    rows, canary = await sync_to_async(unclear_in_new_chats)(1)
    others, _ = await sync_to_async(unclear_in_new_chats)(1)
    evolution = Evolution(canary)
    await looked(resolver(database, evolution), [*rows, *others])
    assert len(evolution.asked) == 2
    assert await Conversation.objects.acount() == 4


def test_the_canary_is_found_in_the_chats_that_were_active_last(db: None) -> None:
    instance = make_instance(make_tenant())
    now = datetime.now(UTC)
    for n in range(3):
        conversation = make_conversation(instance)
        Conversation.objects.filter(pk=conversation.pk).update(last_message_at=now - timedelta(minutes=n))
        sent_at = now - timedelta(minutes=n)
        make_message(conversation, provider_id=f"3EB0{n}", ack=Ack.SUBMITTED, sort_at=sent_at)
    make_message(conversation, provider_id="3EB0UNSURE", ack=Ack.NONE)
    found = scans.last_sure(instance.pk)
    assert found is not None
    assert found.provider_id == "3EB00"
    assert scans.last_sure(make_instance(make_tenant()).pk) is None


def test_the_canary_of_a_chat_long_silent_is_found_too(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: where no active chat has one, all messages are looked through. Without it such a number holds all."""
    monkeypatch.setattr(scans, "_ACTIVE_CHATS", 2)
    instance = make_instance(make_tenant())
    silent = make_conversation(instance)
    make_message(silent, provider_id=CANARY, ack=Ack.SUBMITTED)
    Conversation.objects.filter(pk=silent.pk).update(last_message_at=datetime(2020, 1, 1, tzinfo=UTC))
    for _ in range(3):
        make_conversation(instance)
    found = scans.last_sure(instance.pk)
    assert found is not None
    assert found.provider_id == CANARY
