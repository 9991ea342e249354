"""Sends to people who never wrote: so many a day, none for a day after two rejections, and answers never concerned."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.chat import inbound
from apps.chat.delivery import acks, cold, lane, policy
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.cold import ColdContacts
from apps.chat.delivery.engine import Engine
from apps.chat.delivery.lane import Step
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.inbound import applier
from apps.chat.models import Conversation, Delivery, Instance, Message, WebhookEvent
from apps.chat.redis_clients import close_async_clients
from apps.chat.tests.delivery.test_policy import STEP
from apps.chat.tests.delivery.threads import at_once, in_thread
from apps.chat.tests.factories import (
    accepted,
    make_conversation,
    make_instance,
    make_message,
    queue,
    step_one,
    stepped,
    write,
)

State = Delivery.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def instance() -> Instance:
    return make_instance()


def they_write(conversation: Conversation, **values: Any) -> Message:
    given = {"direction": Message.Direction.INCOMING, "origin": Message.Origin.CUSTOMER, **values}
    return make_message(conversation, "oi", **given)


class Here(DatabaseThread):
    """Runs database work where it is asked for."""

    def __init__(self) -> None:
        pass

    async def call(self, function: Any) -> Any:
        return function()


def check(step: Step, contacts: ColdContacts | None = None) -> Outcome | None:
    return (contacts or ColdContacts(Here()))._check(step)


# --- the cap --------------------------------------------------------------------------------------


def test_so_many_a_day_and_then_no_more(settings: Any, instance: Instance) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 3
    steps = [stepped(queue(make_conversation(instance)).conversation) for _ in range(5)]
    answers = [check(step) for step in steps]
    assert answers[:3] == [None] * 3
    for refused in answers[3:]:
        assert refused is not None
        assert (refused.reason, refused.verdict) == ("cold_cap", Verdict.NOT_SENT)
        day = 86_400
        tomorrow = day - lane.database_seconds() % day
        assert refused.wait is not None
        assert tomorrow - 5 < refused.wait <= tomorrow + cold.SPREAD_SECONDS + 5


def test_the_next_day_counts_anew(instance: Instance) -> None:
    assert cold.count(instance.pk, 1)
    assert not cold.count(instance.pk, 1)
    Instance.objects.update(cold_day=Now() - timedelta(days=1))
    assert cold.count(instance.pk, 1)
    assert not cold.count(instance.pk, 1)


def test_instances_count_apart(instance: Instance) -> None:
    assert cold.count(instance.pk, 1)
    assert cold.count(make_instance().pk, 1)


@pytest.mark.django_db(transaction=True)
def test_the_cap_holds_against_many_workers_at_once() -> None:
    instance = make_instance()
    taken = at_once([lambda: sum(cold.count(instance.pk, 7) for _ in range(6))] * 4)
    assert sum(taken) == 7


async def test_what_did_not_go_out_is_not_counted(settings: Any) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    database = Here()
    contacts = ColdContacts(database)
    counted: list[str] = []

    async def call(function: Any) -> Any:
        counted.append("back")

    database.call = call  # type: ignore[method-assign]
    for verdict, back in ((Verdict.NOT_SENT, 1), (Verdict.UNCLEAR, 0), (Verdict.ACCEPTED, 0)):
        counted.clear()
        contacts._counted.add(STEP.id)
        await contacts.ended(STEP, Outcome(verdict, "x"))
        await contacts.ended(STEP, Outcome(verdict, "x"))
        assert len(counted) == back


def test_a_send_put_back_can_be_taken_again(instance: Instance) -> None:
    assert cold.count(instance.pk, 1)
    cold.uncount(instance.pk)
    assert cold.count(instance.pk, 1)
    cold.uncount(instance.pk)
    cold.uncount(instance.pk)
    instance.refresh_from_db()
    assert instance.cold_sent == 0


def test_answers_are_never_counted(settings: Any, instance: Instance) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    assert cold.count(instance.pk, 1)
    conversation = make_conversation(instance)
    they_write(conversation)
    assert check(stepped(queue(conversation).conversation)) is None
    instance.refresh_from_db()
    assert instance.cold_sent == 1


def test_a_reaction_is_no_answer(instance: Instance) -> None:
    conversation = make_conversation(instance)
    they_write(conversation, kind="reaction")
    assert not cold.has_written(conversation.pk)


async def test_off_or_for_a_group_or_an_edit_nothing_is_asked(settings: Any) -> None:
    class Never(Here):
        async def call(self, function: Any) -> Any:
            raise AssertionError("asked")

    contacts = ColdContacts(Never())
    assert await contacts.refusal(STEP) is None
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    assert await contacts.refusal(replace(STEP, remote_jid="12036304@g.us")) is None
    assert await contacts.refusal(replace(STEP, kind=Delivery.Kind.EDIT)) is None


async def test_who_wrote_once_is_remembered(settings: Any) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    contacts = ColdContacts(Here())
    contacts._warm[STEP.conversation_id] = None

    assert await contacts.refusal(STEP) is None


async def test_with_the_database_away_nothing_leaves(settings: Any) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1

    class Away(Here):
        async def call(self, function: Any) -> Any:
            raise OSError("away")

    refused = await ColdContacts(Away()).refusal(STEP)
    assert refused is not None
    assert (refused.verdict, refused.reason) == (Verdict.NOT_SENT, "fenced")


def test_put_off_burns_no_try_and_waits_as_told() -> None:
    for reason in (cold.CAP, cold.HOLD):
        final = policy.decide(replace(STEP, tries=5), Outcome(Verdict.NOT_SENT, reason, wait=5000.0))
        assert (final.state, final.refund, final.wait, final.reason) == (State.QUEUED, 1, 5000.0, reason)


# --- the rest after rejections ---------------------------------------------------------------------


def reject(conversation: Conversation, times: int = 1) -> None:
    row = queue(conversation)
    step = stepped(conversation)
    final = accepted(step)
    write(final)
    assert final.prov is not None
    for _ in range(times):
        acks.record_ack(row.instance, final.prov, None, True, None)


def resting(instance: Instance) -> bool:
    instance.refresh_from_db()
    return instance.cold_held_until is not None


@pytest.mark.django_db(transaction=True)
def test_the_second_rejection_within_an_hour_lets_cold_sends_rest_for_a_day(redis_url: str) -> None:
    instance = make_instance()
    reject(make_conversation(instance), times=3)
    assert not resting(instance), "told thrice, it is one rejection"
    reject(make_conversation(instance))
    assert resting(instance)
    assert 86_000 < cold.held_for(instance.pk) < 86_401
    step = stepped(queue(make_conversation(instance)).conversation)
    assert step.cold_held
    refused = check(step)
    assert refused is not None
    assert refused.reason == "cold_hold"
    assert refused.wait is not None
    assert 86_000 < refused.wait < 86_401


def test_two_rejections_far_apart_are_chance(instance: Instance) -> None:
    strangers = [make_conversation(instance) for _ in range(2)]
    assert not cold.rejected(instance.pk, strangers[0].pk)
    Instance.objects.update(cold_error_at=Now() - timedelta(minutes=61))
    assert not cold.rejected(instance.pk, strangers[1].pk)
    assert not resting(instance)


def test_rejected_answers_say_nothing_of_strangers(instance: Instance) -> None:
    conversation = make_conversation(instance)
    they_write(conversation)
    assert not cold.rejected(instance.pk, conversation.pk)
    assert not cold.rejected(instance.pk, conversation.pk)
    assert not resting(instance)


def test_answers_go_out_while_strangers_rest(instance: Instance) -> None:
    Instance.objects.update(cold_held_until=Now() + timedelta(hours=5))
    conversation = make_conversation(instance)
    they_write(conversation)
    assert check(stepped(queue(conversation).conversation)) is None


def test_the_rest_ends_by_itself(instance: Instance) -> None:
    Instance.objects.update(cold_held_until=Now() - timedelta(seconds=1))
    assert check(stepped(queue(make_conversation(instance)).conversation)) is None


# --- the customer writes ---------------------------------------------------------------------------


def put_off(conversation: Conversation, reason: str = cold.CAP) -> Delivery:
    row = queue(conversation)
    step = stepped(conversation)
    write(policy.decide(step, Outcome(Verdict.NOT_SENT, reason, wait=40_000.0)))
    assert step_one(conversation) is None
    return row


@pytest.mark.parametrize("reason", [cold.CAP, cold.HOLD])
def test_what_waited_moves_as_soon_as_the_customer_writes(instance: Instance, reason: str) -> None:
    conversation = make_conversation(instance)
    row = put_off(conversation, reason)
    cold.customer_wrote(conversation.pk)
    assert [due.id for due in lane.sweep(10)] == [row.pk]
    assert stepped(conversation).id == row.pk


def test_what_waits_for_another_reason_waits_on(instance: Instance) -> None:
    conversation = make_conversation(instance)
    put_off(conversation)
    Delivery.objects.update(reason="connect_failed")
    cold.customer_wrote(conversation.pk)
    assert step_one(conversation) is None


def test_a_webhook_of_the_customer_s_message_is_enough(settings: Any, instance: Instance) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    conversation = make_conversation(instance, "5511988887777")
    row = put_off(conversation)
    event = _wrote(instance, "5511988887777")
    inbound.apply(WebhookEvent.objects.select_related("instance").get(pk=event.pk))
    assert stepped(conversation).id == row.pk


def test_a_webhook_among_many_is_enough(settings: Any, instance: Instance) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    numbers = [f"551198888777{digit}" for digit in range(3)]
    conversations = [make_conversation(instance, number) for number in numbers]
    row = put_off(conversations[1])
    applied = applier.try_all([_wrote(instance, number).pk for number in numbers])
    assert [note for _, note in applied] == ["received"] * 3
    assert stepped(conversations[1]).id == row.pk


def _wrote(instance: Instance, number: str) -> WebhookEvent:
    said = {
        "key": {"id": f"3EB0{number}", "remoteJid": f"{number}@s.whatsapp.net", "fromMe": False},
        "message": {"conversation": "quem é?"},
        "messageType": "conversation",
        "messageTimestamp": int(time.time()),
    }
    body = {"event": "messages.upsert", "instance": instance.name, "data": said}
    return WebhookEvent.objects.create(instance=instance, event="messages.upsert", body=body)


# --- through the engine ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_send_over_the_cap_is_never_posted(
    redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_COLD_CONTACT_DAILY_CAP = 1
    settings.CHAT_SWEEP_INTERVAL_SECONDS = 60
    posted: list[int] = []

    async def send(_: object, step: Step, fence: object) -> Outcome:
        posted.append(step.id)
        return Outcome(Verdict.ACCEPTED, "accepted", provider_id=f"3EB0{step.id:08X}", http_status=201)

    monkeypatch.setattr("apps.chat.delivery.sender.send", send)

    def prepare() -> list[Step]:
        instance = make_instance()
        return [stepped(queue(make_conversation(instance)).conversation) for _ in range(2)]

    steps = await asyncio.to_thread(in_thread, prepare)
    async with Engine() as engine:
        for step in steps:
            await engine.deliver(step, time.monotonic())
    assert posted == [steps[0].id]
    rows = await asyncio.to_thread(in_thread, lambda: list(Delivery.objects.order_by("id")))
    assert [(row.state, row.reason, row.tries) for row in rows] == [
        (State.SENT, "", 1),
        (State.QUEUED, "cold_cap", 0),
    ]
    await close_async_clients()
