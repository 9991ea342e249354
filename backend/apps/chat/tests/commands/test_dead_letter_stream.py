"""The dead-letter stream says what the rows say: put up after a failure, taken down by whoever decides."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import redis
from django.conf import settings
from testing.waiting import eventually_async

from apps.chat import deciding, redis_dead_letters, redis_streams
from apps.chat.delivery import acks, dead_letters, evidence, sender
from apps.chat.delivery.dead_letters import Reconciled
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.resolver import absent
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Delivery, Message
from apps.chat.redis_dead_letters import DeadLetter
from apps.chat.tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
State = Delivery.State
TEXT = "what nobody but the customer may read"


def letters() -> list[DeadLetter]:
    return redis_dead_letters.entries()


def shown() -> list[int | None]:
    return [letter.delivery_id for letter in letters()]


def fail(delivery: Delivery, reason: str = "not_on_whatsapp") -> None:
    """The lane's head is stepped and refused for good; the row is failed, the stream not told."""
    step = factories.stepped(delivery.conversation)
    assert factories.write(factories.not_sent(step, State.FAILED, reason=reason)) == {
        delivery.pk: State.FAILED
    }


def failed(conversation: Any = None, reason: str = "not_on_whatsapp") -> Delivery:
    delivery = factories.queue(conversation, TEXT)
    fail(delivery, reason)
    return Delivery.objects.select_related("message", "conversation", "instance").get(pk=delivery.pk)


def test_a_permanent_failure_leaves_one_entry_with_metadata_and_nothing_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delivery = factories.queue(None, TEXT)

    async def refused(*args: object) -> Outcome:
        return Outcome(Verdict.NOT_SENT, "body_rejected", permanent=True)

    monkeypatch.setattr(sender, "send", refused)

    async def work() -> None:
        async with Engine("dead-letters") as engine:
            await engine.work(delivery.conversation_id)

    asyncio.run(work())

    (letter,) = letters()
    fields = dict(letter.metadata)
    assert (letter.source, letter.reason) == (settings.CHAT_STREAM_SEND_NAME, "body_rejected")
    times = [fields.pop(name) for name in ("first_attempt_at", "last_attempt_at", "failed_at")]
    assert all(time.endswith("Z") for time in times)
    assert times == sorted(times)
    assert fields == {
        "delivery_id": str(delivery.pk),
        "message_id": str(delivery.message_id),
        "conversation_id": str(delivery.conversation_id),
        "instance_id": str(delivery.instance_id),
        "tenant_id": str(delivery.tenant_id),
        "attempts": "1",
        "failure_gen": "1",
    }
    said = repr(letter)
    assert TEXT not in said
    assert delivery.conversation.remote_jid.partition("@")[0] not in said
    assert "test-key" not in said


def test_an_ack_that_says_error_leaves_an_entry() -> None:
    delivery = factories.queue()
    step = factories.stepped(delivery.conversation)
    factories.write(factories.accepted(step, "3EB0AAAA"))

    acks.record_ack(delivery.instance, "3EB0AAAA", None, True, None)

    (letter,) = letters()
    assert (letter.delivery_id, letter.reason) == (delivery.pk, "rejected_by_whatsapp")


def test_a_rejection_that_is_rolled_back_leaves_none() -> None:
    from django.db import transaction

    delivery = factories.queue()
    factories.write(factories.accepted(factories.stepped(delivery.conversation), "3EB0BBBB"))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        acks.record_ack(delivery.instance, "3EB0BBBB", None, True, None)
        1 / 0  # noqa: B018

    assert letters() == []


def test_a_replay_takes_the_entry_out() -> None:
    stays, goes = failed(), failed()
    dead_letters.record([stays.pk, goes.pk])
    assert shown() == [stays.pk, goes.pk]

    deciding.retry(goes.message, goes.failure_gen)

    assert shown() == [stays.pk]


def test_a_discard_takes_the_entry_out() -> None:
    delivery = failed()
    dead_letters.record([delivery.pk])

    deciding.discard(delivery.message, delivery.failure_gen)

    assert letters() == []


def test_late_proof_takes_the_entry_out() -> None:
    delivery = failed()
    dead_letters.record([delivery.pk])

    bound = evidence.bind_echo(delivery.instance, [delivery.conversation_id], factories.echo(delivery))

    assert bound is evidence.Bound.ATTEMPT
    assert Delivery.objects.get(pk=delivery.pk).state == State.SENT
    assert letters() == []


def test_what_is_no_dead_letter_any_more_is_not_put_up() -> None:
    delivery = failed()
    deciding.retry(delivery.message)

    dead_letters.record([delivery.pk])

    assert letters() == []


def test_with_redis_away_nothing_is_raised_and_reconcile_puts_it_right(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = failed()
    url = settings.CHAT_STREAM_REDIS_URL
    settings.CHAT_STREAM_REDIS_URL = "redis://127.0.0.1:1/3"
    dead_letters.record([delivery.pk])
    dead_letters.forget([delivery.pk])
    settings.CHAT_STREAM_REDIS_URL = url
    redis_streams.outage.worked()

    assert dead_letters.reconcile() == Reconciled(added=1, removed=0)
    assert shown() == [delivery.pk]


def test_reconcile_adds_what_is_missing_and_removes_what_is_stale_or_double() -> None:
    missing, stale, double, again = failed(), failed(), failed(), failed()
    for rows in ([double.pk], [stale.pk, double.pk, again.pk]):
        dead_letters.record(rows)
    Delivery.objects.filter(pk=stale.pk).update(state=State.CANCELLED)
    Delivery.objects.filter(pk=again.pk).update(failure_gen=3)
    wanted = Reconciled(added=2, removed=3)

    assert dead_letters.disagreement() == wanted
    assert dead_letters.reconcile() == wanted

    assert sorted(shown(), key=str) == sorted([missing.pk, double.pk, again.pk], key=str)
    assert dead_letters.reconcile() == Reconciled(0, 0)


def test_reconcile_leaves_entries_without_a_row_to_people() -> None:
    asyncio.run(redis_streams.push_to_dead_letter(settings.CHAT_STREAM_SEND_NAME, "garbage", entry="1-1"))

    assert dead_letters.reconcile() == Reconciled(0, 0)
    (letter,) = letters()
    assert (letter.delivery_id, letter.reason) == (None, "garbage")


def test_the_resolver_at_the_cap_leaves_an_entry() -> None:
    delivery = factories.queue()
    step = factories.stepped(delivery.conversation)
    factories.write(factories.unclear(step))
    claimed = factories.claim(delivery)
    assert claimed is not None

    async def conclude() -> None:
        async with Engine("resolver") as engine:
            await engine.resolver._record(claimed, replace(absent(claimed), state=State.FAILED, wait=None))

    asyncio.run(conclude())

    (letter,) = letters()
    assert (letter.delivery_id, letter.reason) == (delivery.pk, "not_sent_after_check")


def test_a_worker_reconciles_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = failed()
    monkeypatch.setattr(dead_letters, "RECONCILE_SECONDS", 0.2)

    async def live() -> None:
        async with Engine("reconciler"):
            await eventually_async(lambda: asyncio.to_thread(letters), 5, "the notice to be put up")

    asyncio.run(live())

    assert shown() == [delivery.pk]


def test_reconcile_survives_a_flush_and_comes_to_rest_at_the_bound(
    settings: Any, redis_client: redis.Redis
) -> None:
    settings.CHAT_STREAM_DLQ_MAXLEN = 3
    conversation = factories.make_conversation()
    rows = [failed(conversation) for _ in range(5)]
    redis_client.flushall()

    assert dead_letters.reconcile().added == 3
    assert sorted(shown(), key=str) == sorted((row.pk for row in rows[-3:]), key=str)
    assert dead_letters.reconcile() == Reconciled(0, 0)


def test_edits_and_reactions_are_no_dead_letters() -> None:
    delivery = failed()
    Delivery.objects.filter(pk=delivery.pk).update(kind=Delivery.Kind.REACTION)

    dead_letters.record([delivery.pk])

    assert letters() == []
    assert dead_letters.reconcile() == Reconciled(0, 0)


def test_a_deleted_message_takes_its_entry_along_with_the_next_reconcile() -> None:
    delivery = failed()
    dead_letters.record([delivery.pk])
    Message.objects.filter(pk=delivery.message_id).delete()

    assert dead_letters.reconcile() == Reconciled(added=0, removed=1)


def test_a_bulk_forgets_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [failed() for _ in range(4)]
    dead_letters.record([row.pk for row in rows])
    calls: list[set[int]] = []
    remove = redis_dead_letters.remove_deliveries
    monkeypatch.setattr(
        redis_dead_letters, "remove_deliveries", lambda ids: calls.append(set(ids)) or remove(ids)
    )

    with dead_letters.forgetting_together():
        for row in rows:
            deciding.retry(row.message, row.failure_gen)

    assert calls == [{row.pk for row in rows}]
    assert letters() == []


def test_one_process_of_all_reconciles_at_a_time() -> None:
    assert [redis_dead_letters.claim_reconcile(60) for _ in range(3)] == [True, False, False]


def test_removing_scans_past_the_first_slice() -> None:
    redis_dead_letters.add({"source": "s", "reason": "r", "delivery_id": n} for n in range(1000))

    assert redis_dead_letters.remove_deliveries([999, 3, 12345]) == 2
    assert len(letters()) == 998
