"""The gap healer against a simulated Evolution whose webhooks get lost: nothing missing, nothing double."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from testing import servers
from testing.waiting import eventually

from apps.chat import healer, journal
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.evolution.client import EvolutionClient
from apps.chat.healer import Healer
from apps.chat.models import Ack, Conversation, Instance, Message, MessageReaction, WebhookEvent
from apps.chat.tests import factories

SEED = int(os.environ.get("TEST_SEED") or random.randrange(1 << 32))
ANA, BIA = "5511990000001", "5511990000002"
THUMB = "\U0001f44d"


@pytest.fixture(scope="module")
def evolution() -> Iterator[servers.Simulator]:
    with servers.simulator("--seed", "1", "--delivery", "0.01", "0.02") as running:
        yield running


@pytest.fixture
def instance(transactional_db: None, evolution: servers.Simulator, request: Any) -> Iterator[Instance]:
    evolution.control("POST", "reset", {"instances": True})
    name = f"lab-{random.randrange(1 << 30)}"
    body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS"}
    evolution.call("POST", "/instance/create", body)
    evolution.control("POST", f"instances/{name}/state", {"state": "open"})
    made = factories.make_instance(name=name, base_url=evolution.url, api_key=evolution.api_key)
    yield made
    journal.stop(10)


@pytest.fixture(autouse=True)
def _young(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait until a webhook is surely late."""
    monkeypatch.setattr(healer, "GRACE", timedelta(seconds=-5))
    monkeypatch.setattr(healer, "PAUSE_SECONDS", 0.0)


def healing(work: Callable[[Healer], Coroutine[Any, Any, int]]) -> int:
    """Run with a healer of its own process, and apply what it journalled."""

    async def run() -> int:
        database = DatabaseThread(lambda: 0)
        try:
            async with EvolutionClient() as client:
                return await work(Healer(database, client))
        finally:
            database.stop()

    found = asyncio.run(run())
    assert journal.drain(30)
    return found


def look(instance: Instance) -> int:
    instance.refresh_from_db()
    return healing(lambda one: one.look(instance))


def say(evolution: servers.Simulator, instance: Instance, text: str, number: str = ANA, **more: Any) -> str:
    body = {"instance": instance.name, "text": text, **more}
    return str(evolution.control("POST", f"customers/{number}/say", body)["key_id"])


def texts() -> list[str]:
    return list(Message.objects.order_by("sort_at", "content").values_list("content", flat=True))


def requests(evolution: servers.Simulator) -> int:
    return int(sum(evolution.control("GET", "requests")["requests"].values()))


def test_what_no_webhook_brought_is_taken_in_once(evolution: servers.Simulator, instance: Instance) -> None:
    for number in range(3):
        say(evolution, instance, f"n {number}")
    evolution.control("POST", "phone/say", {"instance": instance.name, "number": ANA, "text": "no telefone"})
    assert look(instance) == 4
    assert sorted(texts()) == ["n 0", "n 1", "n 2", "no telefone"]
    assert set(Message.objects.values_list("recovered", flat=True)) == {True}
    conversation = Conversation.objects.get()
    assert (conversation.unread_count, conversation.status) == (3, "pending")
    assert look(instance) == 0
    assert Message.objects.count() == 4
    assert {row.body["healed"] for row in WebhookEvent.objects.all()} == {True}


def test_other_kinds_edits_deletions_and_reactions_are_healed(
    evolution: servers.Simulator, instance: Instance
) -> None:
    kept, gone = say(evolution, instance, "um"), say(evolution, instance, "dois")
    place = {"locationMessage": {"degreesLatitude": -23.5, "degreesLongitude": -46.6}}
    say(evolution, instance, "", message=place, message_type="locationMessage")
    assert look(instance) == 3
    edit = {"instance": instance.name, "key_id": kept, "text": "um, corrigido"}
    evolution.control("POST", f"customers/{ANA}/edit", edit)
    evolution.control("POST", f"customers/{ANA}/edit", {"instance": instance.name, "key_id": gone})
    said = {"reactionMessage": {"key": {"id": kept}, "text": THUMB, "senderTimestampMs": _now_ms()}}
    say(evolution, instance, "", message=said, message_type="reactionMessage")
    assert look(instance) == 3
    assert Message.objects.get(provider_id=kept).content == "um, corrigido"
    assert Message.objects.get(provider_id=gone).deleted_at
    assert Message.objects.get(kind="location").details["location"]["latitude"] == -23.5
    assert MessageReaction.objects.get().emoji == THUMB
    assert look(instance) <= 1  # the reaction is told by each new process, and known


def _now_ms() -> str:
    return str(int(time.time() * 1000))


def test_acknowledgements_are_healed(evolution: servers.Simulator, instance: Instance) -> None:
    evolution.control("POST", "customers", {"number": ANA, "delivery_delay": 0.0, "read_delay": 0.0})
    say(evolution, instance, "oi")
    look(instance)
    answer = evolution.call("POST", f"/message/sendText/{instance.name}", {"number": ANA, "text": "pronto"})
    key_id = str(answer["key"]["id"])
    sent = Message.objects.create(
        tenant_id=instance.tenant_id,
        conversation=Conversation.objects.get(),
        instance=instance,
        direction="outgoing",
        origin="other",
        content="pronto",
        provider_id=key_id,
        ack=Ack.SUBMITTED,
        sort_at=datetime.now(UTC),
        created_at=datetime.now(UTC),
    )

    def seen() -> bool:
        look(instance)
        sent.refresh_from_db()
        return bool(sent.ack == Ack.SEEN)

    eventually(seen, 15, "the acknowledgement")


def sent_before(
    evolution: servers.Simulator, instance: Instance, text: str, *, ack: Ack = Ack.SUBMITTED
) -> Message:
    """A message of ours that went out a minute ago, and of which no webhook told more."""
    answer = evolution.call("POST", f"/message/sendText/{instance.name}", {"number": ANA, "text": text})
    at = datetime.now(UTC) - timedelta(seconds=60)
    Conversation.objects.update(last_message_at=datetime.now(UTC))
    return Message.objects.create(
        tenant_id=instance.tenant_id,
        conversation=Conversation.objects.get(),
        instance=instance,
        direction="outgoing",
        origin="other",
        content=text,
        provider_id=str(answer["key"]["id"]),
        ack=ack,
        sort_at=at,
        created_at=at,
    )


def asked(evolution: servers.Simulator) -> int:
    counts = evolution.control("GET", "requests")["requests"]
    return sum(int(count) for name, count in counts.items() if "findStatusMessage" in name)


@pytest.fixture
def silent(evolution: servers.Simulator, instance: Instance) -> Instance:
    """Messages are not found by their time, as when a record was moved; what befell them is."""
    evolution.control("POST", "customers", {"number": ANA, "delivery_delay": 0.0, "reads": False})
    say(evolution, instance, "oi")
    look(instance)
    evolution.control("POST", "faults", {"match": {"endpoint": "chat/findMessages"}, "answer": "empty"})
    return instance


def test_a_message_that_no_record_tells_of_is_asked_about(
    evolution: servers.Simulator, silent: Instance
) -> None:
    sent, twin = sent_before(evolution, silent, "um"), sent_before(evolution, silent, "dois", ack=Ack.SENT)

    def delivered() -> bool:
        look(silent)
        return set(Message.objects.filter(direction="outgoing").values_list("ack", flat=True)) == {
            Ack.DELIVERED
        }

    eventually(delivered, 15, "the acknowledgements")
    before = asked(evolution)
    assert (look(silent), asked(evolution)) == (0, before), "who has it is not asked about again"
    assert sent.pk != twin.pk


def test_what_its_record_tells_of_is_not_asked_about(evolution: servers.Simulator, silent: Instance) -> None:
    evolution.control("DELETE", "faults")
    evolution.control("POST", "faults", {"acks": ["SERVER_ACK"]})
    sent = sent_before(evolution, silent, "um")

    def told() -> bool:
        look(silent)
        sent.refresh_from_db()
        return bool(sent.ack == Ack.SENT)

    eventually(told, 15, "the acknowledgement")
    before = asked(evolution)
    look(silent)
    assert asked(evolution) == before


def test_an_error_told_only_there_is_taken_in_once(evolution: servers.Simulator, silent: Instance) -> None:
    evolution.control("POST", "faults", {"acks": ["ERROR"]})
    key_id = sent_before(evolution, silent, "um").provider_id

    async def looks(one: Healer) -> int:
        end = time.monotonic() + 15
        while not (found := await one.look(silent)) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return found + await one.look(silent)

    silent.refresh_from_db()
    assert healing(looks) == 1
    told = WebhookEvent.objects.get(event="messages.update").body
    assert (told["data"]["keyId"], told["data"]["status"]) == (key_id, "ERROR")


def test_one_look_asks_about_some_and_the_next_about_others(
    evolution: servers.Simulator, silent: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healer, "STATUS_QUESTIONS", 2)
    evolution.control("POST", "switches", {"acks": False})
    ids = [sent_before(evolution, silent, f"n {number}").provider_id for number in range(3)]
    seen: list[str] = []

    async def asks(client: object, ref: object, key_id: str) -> None:
        seen.append(key_id)

    monkeypatch.setattr(healer, "find_statuses", asks)

    async def looks(one: Healer) -> int:
        return sum([await one.look(silent) for _ in range(3)])

    silent.refresh_from_db()
    try:
        assert healing(looks) == 0
    finally:
        evolution.control("POST", "switches", {"acks": True})
    assert len(seen) == 6
    assert {key_id: seen.count(key_id) for key_id in seen} == dict.fromkeys(map(str, ids), 2)


def test_trouble_with_one_question_harms_nothing(evolution: servers.Simulator, silent: Instance) -> None:
    evolution.control("DELETE", "faults")
    fault = {"match": {"endpoint": "chat/findStatusMessage"}, "answer": {"status": 500, "body": {}}}
    evolution.control("POST", "faults", fault)
    evolution.control("POST", "faults", {"acks": []})
    for number in range(3):
        sent_before(evolution, silent, f"n {number}")
    say(evolution, silent, "tudo bem?")
    before = asked(evolution)
    assert look(silent) == 1
    assert asked(evolution) == before + 1
    assert "tudo bem?" in texts()


def test_an_idle_instance_costs_one_question(evolution: servers.Simulator, instance: Instance) -> None:
    look(instance)
    before = requests(evolution)
    look(instance)
    assert requests(evolution) - before == 1


def test_a_flood_is_taken_in_slices(
    evolution: servers.Simulator, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healer, "PAGE_SIZE", 5)
    monkeypatch.setattr(healer, "MOST_PAGES", 2)
    now = int(time.time())
    for number in range(40):
        say(evolution, instance, f"n {number:02}", timestamp=now - 1200 + 30 * number)
    before = requests(evolution)
    first = look(instance)
    assert first <= 10
    assert requests(evolution) - before < 20
    instance.refresh_from_db()
    assert instance.healed_until is not None
    assert instance.heal_at <= datetime.now(UTC) + timedelta(seconds=1)
    looks = 0
    while Message.objects.count() < 40:
        look(instance)
        looks += 1
        assert looks < 60
    assert sorted(texts()) == [f"n {number:02}" for number in range(40)]


def test_a_tenth_of_the_webhooks_lost_and_nothing_is_missing(
    instance: Instance, evolution: servers.Simulator
) -> None:
    """What arrived by webhook and what is healed end as one: nothing missing, nothing double."""
    print(f"TEST_SEED={SEED}")
    chance = random.Random(SEED)
    from apps.chat import inbound
    from apps.chat.tests.inbound.conftest import journalled

    for number in range(60):
        text, who = f"n {number:02}", chance.choice([ANA, BIA])
        key_id = say(evolution, instance, text, who, timestamp=int(time.time()) - 600 + number)
        if chance.random() >= 0.1:
            jid = f"{who}@s.whatsapp.net"
            key = {"id": key_id, "remoteJid": jid, "fromMe": False}
            data = {"key": key, "message": {"conversation": text}, "messageType": "conversation",
                    "messageTimestamp": int(time.time()) - 600 + number}  # fmt: skip
            row = journalled(instance, {"event": "messages.upsert", "data": data}, datetime.now(UTC))
            inbound.apply(row)
    there = Message.objects.count()
    assert look(instance) == 60 - there
    assert sorted(texts()) == [f"n {number:02}" for number in range(60)]
    assert sum(Conversation.objects.values_list("unread_count", flat=True)) == 60


def test_whoever_comes_first_looks_and_nobody_else(instance: Instance) -> None:
    assert [one.pk for one in healer.claim_due()] == [instance.pk]
    assert healer.claim_due() == []


def test_a_connection_that_opens_is_looked_at_soon(instance: Instance) -> None:
    from apps.chat import inbound
    from apps.chat.tests.inbound.conftest import journalled

    healer.claim_due()
    data = {"instance": instance.name, "state": "open", "statusReason": 200}
    inbound.apply(journalled(instance, {"event": "connection.update", "data": data}, datetime.now(UTC)))
    instance.refresh_from_db()
    assert instance.heal_at < datetime.now(UTC) + timedelta(seconds=5)


def test_trouble_is_told_and_the_next_instance_has_its_turn(
    evolution: servers.Simulator, instance: Instance
) -> None:
    factories.make_instance(name="ghost", base_url=evolution.url, api_key=evolution.api_key)
    say(evolution, instance, "oi")
    assert healing(lambda one: one.tick()) == 2
    assert texts() == ["oi"]
