"""The mark-as-read loop: one call per conversation, tried again while that can help, then a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from asgiref.sync import sync_to_async

from apps.chat import redis_streams as streams
from apps.chat.evolution.client import EvolutionError
from apps.chat.models import ContactJid, Conversation, Instance, Message
from apps.chat.read_receipts import Problem, ReadReceipts
from apps.chat.stream_consumer import MarkReadWorker
from apps.chat.tests.factories import make_conversation, make_message
from apps.chat.tests.streams.conftest import Lanes, Running, until


class Receipts:
    """Stands in for `ReadReceipts`: remembers calls, answers what it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[UUID, set[UUID]]] = []
        self.problem: Problem | None = None

    async def send(self, conversation_id: UUID, message_ids: Sequence[UUID]) -> Problem | None:
        self.calls.append((conversation_id, set(message_ids)))
        await asyncio.sleep(0)
        return self.problem


@pytest.fixture
def receipts() -> Receipts:
    return Receipts()


@pytest.fixture
def worker(lanes: Lanes, receipts: Receipts) -> MarkReadWorker:
    made = MarkReadWorker(lanes, "marks")  # type: ignore[arg-type]
    made._receipts = receipts  # type: ignore[assignment]
    return made


def waiting(raw: redis.Redis, quick: Any) -> int:
    return int(raw.xlen(quick.CHAT_STREAM_MARK_READ_NAME))


async def test_marks_of_one_conversation_are_one_call(
    worker: MarkReadWorker, receipts: Receipts, running: Running, raw: redis.Redis, quick: Any
) -> None:
    one, other = uuid4(), uuid4()
    mine = {uuid4() for _ in range(40)}
    for message in mine:
        streams.enqueue_mark_as_read(one, message)
    theirs = uuid4()
    streams.enqueue_mark_as_read(other, theirs)
    async with running(worker):
        await until(lambda: waiting(raw, quick) == 0)
    assert sorted(receipts.calls, key=lambda call: len(call[1])) == [(other, {theirs}), (one, mine)]


async def test_a_mark_that_failed_comes_back(
    worker: MarkReadWorker, receipts: Receipts, running: Running, raw: redis.Redis, quick: Any
) -> None:
    receipts.problem = Problem("server_error", permanent=False)
    streams.enqueue_mark_as_read(uuid4(), uuid4())
    async with running(worker):
        await until(lambda: len(receipts.calls) == 2)
        receipts.problem = None
        await until(lambda: waiting(raw, quick) == 0)
    assert len(receipts.calls) == 3
    assert raw.xlen(quick.CHAT_STREAM_DLQ_NAME) == 0


@pytest.mark.parametrize(("permanent", "calls"), [(True, 1), (False, 3)])
async def test_a_mark_that_cannot_be_sent_is_a_dead_letter(
    worker: MarkReadWorker,
    receipts: Receipts,
    running: Running,
    raw: redis.Redis,
    quick: Any,
    permanent: bool,
    calls: int,
) -> None:
    quick.CHAT_STREAM_MAX_RETRIES = 3
    receipts.problem = Problem("no_such_chat", permanent=permanent)
    place, message = uuid4(), uuid4()
    streams.enqueue_mark_as_read(place, message)
    async with running(worker):
        await until(lambda: waiting(raw, quick) == 0)
    assert len(receipts.calls) == calls
    [(_, letter)] = raw.xrange(quick.CHAT_STREAM_DLQ_NAME)
    assert (letter["reason"], letter["conversation"], letter["message"]) == (
        "no_such_chat",
        str(place),
        str(message),
    )


async def test_a_lost_group_is_made_again(
    worker: MarkReadWorker, receipts: Receipts, running: Running, raw: redis.Redis, quick: Any
) -> None:
    async with running(worker):
        raw.flushall()
        streams.enqueue_mark_as_read(uuid4(), uuid4())
        await until(lambda: receipts.calls)
        await until(lambda: waiting(raw, quick) == 0)


async def test_a_stop_leaves_no_consumer(
    worker: MarkReadWorker, running: Running, raw: redis.Redis, quick: Any
) -> None:
    place = quick.CHAT_STREAM_MARK_READ_NAME, quick.CHAT_STREAM_CONSUMER_GROUP
    streams.enqueue_mark_as_read(uuid4(), uuid4())
    async with running(worker):
        await until(lambda: raw.xinfo_consumers(*place))
    assert raw.xinfo_consumers(*place) == []


# --- what is sent ---------------------------------------------------------------------------------


class Evolution:
    def __init__(self, error: EvolutionError | None = None) -> None:
        self.error, self.keys = error, []

    async def mark_as_read(self, ref: Any, keys: Any) -> None:
        self.keys += list(keys)
        if self.error:
            raise self.error


def incoming() -> tuple[Conversation, list[Message]]:
    conversation = make_conversation()
    theirs = {"direction": "incoming", "origin": "customer"}
    return conversation, [
        make_message(conversation, provider_id="IN1", **theirs),
        make_message(conversation, provider_id="IN2", author_jid="55@s.whatsapp.net", **theirs),
        make_message(conversation, **theirs),
        make_message(conversation, provider_id="OURS"),
        make_message(make_conversation(), provider_id="ELSEWHERE", **theirs),
    ]


@pytest.mark.django_db(transaction=True)
class TestReceipts:
    async def test_only_their_messages_of_this_conversation_are_marked(self, lanes: Lanes) -> None:
        conversation, messages = await sync_to_async(incoming)()
        lanes.client = evolution = Evolution()  # type: ignore[attr-defined]
        ids = [message.pk for message in messages]
        assert await ReadReceipts(lanes).send(conversation.pk, ids) is None  # type: ignore[arg-type]
        keys = {(key.id, key.participant) for key in evolution.keys}
        assert keys == {("IN1", None), ("IN2", "55@s.whatsapp.net")}

    async def test_nothing_to_mark_is_no_problem(self, lanes: Lanes) -> None:
        lanes.client = Evolution()  # type: ignore[attr-defined]
        receipts = ReadReceipts(lanes)  # type: ignore[arg-type]
        assert await receipts.send(uuid4(), [uuid4()]) is None
        conversation = await sync_to_async(make_conversation)()
        assert await receipts.send(conversation.pk, [uuid4()]) is None

    @pytest.mark.parametrize("permanent", [True, False])
    async def test_a_refusal_says_whether_trying_again_can_help(self, lanes: Lanes, permanent: bool) -> None:
        conversation, messages = await sync_to_async(incoming)()
        error = EvolutionError("no", permanent=permanent, status=500, where="mark as read")
        lanes.client = Evolution(error)  # type: ignore[attr-defined]
        problem = await ReadReceipts(lanes).send(conversation.pk, [messages[0].pk])  # type: ignore[arg-type]
        assert problem == Problem("no", permanent)

    async def test_with_the_database_away_the_mark_comes_back(self, lanes: Lanes) -> None:
        class Away:
            async def call(self, _: Any) -> Any:
                raise OSError("away")

        lanes.database = Away()  # type: ignore[assignment]
        problem = await ReadReceipts(lanes).send(uuid4(), [uuid4()])  # type: ignore[arg-type]
        assert problem is not None and not problem.permanent

    async def test_those_read_with_one_press_go_along(self, lanes: Lanes) -> None:
        conversation, messages = await sync_to_async(incoming)()
        await sync_to_async(Message.objects.update)(read_at=messages[0].created_at)
        lanes.client = evolution = Evolution()  # type: ignore[attr-defined]
        await ReadReceipts(lanes).send(conversation.pk, [messages[1].pk])  # type: ignore[arg-type]
        assert {key.id for key in evolution.keys} == {"IN1", "IN2"}

    async def test_calls_and_notes_are_nobodys_messages(self, lanes: Lanes) -> None:
        conversation, messages = await sync_to_async(incoming)()
        await sync_to_async(Message.objects.filter(provider_id="IN1").update)(kind="call")
        lanes.client = evolution = Evolution()  # type: ignore[attr-defined]
        await ReadReceipts(lanes).send(conversation.pk, [m.pk for m in messages])  # type: ignore[arg-type]
        assert [key.id for key in evolution.keys] == ["IN2"]

    async def test_a_policy_of_never_tells_nothing(self, lanes: Lanes) -> None:
        conversation, messages = await sync_to_async(incoming)()
        await sync_to_async(Instance.objects.update)(read_receipts="never")
        lanes.client = evolution = Evolution()  # type: ignore[attr-defined]
        assert await ReadReceipts(lanes).send(conversation.pk, [messages[0].pk]) is None  # type: ignore[arg-type]
        assert evolution.keys == []

    async def test_on_reply_waits_for_the_answer_and_tells_what_it_answers(self, lanes: Lanes) -> None:
        conversation, messages = await sync_to_async(incoming)()
        await sync_to_async(Instance.objects.update)(read_receipts="on_reply")
        await sync_to_async(Message.objects.filter(direction="incoming").update)(
            read_at=messages[0].created_at
        )
        await sync_to_async(Message.objects.filter(provider_id="OURS").delete)()
        lanes.client = evolution = Evolution()  # type: ignore[attr-defined]
        receipts = ReadReceipts(lanes)  # type: ignore[arg-type]
        assert await receipts.send(conversation.pk, [messages[0].pk]) is None
        assert evolution.keys == []
        answer = await sync_to_async(make_message)(conversation, provider_id="ANSWER")
        assert await receipts.send(conversation.pk, [answer.pk]) is None
        assert {key.id for key in evolution.keys} == {"IN1", "IN2"}

    async def test_a_lid_is_told_by_its_number_and_shows_when_there_is_none(self, lanes: Lanes) -> None:
        conversation, messages = await sync_to_async(incoming)()
        lid, phone = "111111111111111@lid", "5511990000001@s.whatsapp.net"
        await sync_to_async(Conversation.objects.filter(pk=conversation.pk).update)(remote_jid=lid)
        lanes.client = evolution = Evolution()  # type: ignore[attr-defined]
        receipts = ReadReceipts(lanes)  # type: ignore[arg-type]
        await sync_to_async(ContactJid.objects.filter(contact_id=conversation.contact_id).delete)()
        assert await receipts.send(conversation.pk, [messages[0].pk]) is None
        assert evolution.keys == []
        row = await Instance.objects.aget(pk=conversation.instance_id)
        assert (row.receipt_reason, row.receipt_failed_at is not None) == ("receipt_needs_number", True)
        await ContactJid.objects.acreate(
            tenant_id=conversation.tenant_id, contact_id=conversation.contact_id, key=phone, jid=phone
        )
        assert await receipts.send(conversation.pk, [messages[0].pk]) is None
        assert [key.remote_jid for key in evolution.keys] == [phone]
        row = await Instance.objects.aget(pk=conversation.instance_id)
        assert (row.receipt_reason, row.receipt_failed_at) == ("", None)
