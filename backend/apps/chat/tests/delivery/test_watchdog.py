"""An instance is called mute only when everything says so; whatever is heard of it opens it again (E23)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.chat import inbound
from apps.chat.delivery import acks, gate, watchdog
from apps.chat.delivery.watchdog import Watchdog
from apps.chat.evolution.client import EvolutionError
from apps.chat.models import Ack, Delivery, Instance, Message, WebhookEvent
from apps.chat.tests.delivery.test_cold import Here
from apps.chat.tests.delivery.test_judge import run
from apps.chat.tests.factories import (
    accepted,
    echo,
    make_conversation,
    make_instance,
    make_message,
    queue,
    stepped,
    write,
)

pytestmark = pytest.mark.django_db


class Evolution:
    """Shows what it has stored."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.error: Exception | None = None
        self.asked = 0

    async def find_messages(self, ref: object, **_: Any) -> Any:
        self.asked += 1
        if self.error:
            raise self.error
        return SimpleNamespace(records=self.records)


class Scene:
    """An instance that acknowledged before, and sends that were accepted on it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.instance = make_instance()
        self.evolution = Evolution()
        self.dog = Watchdog(Here(), self.evolution, lambda: self.now)  # type: ignore[arg-type]
        self.earlier = make_message(make_conversation(self.instance), ack=Ack.SENT, provider_id="3EB0EARLIER")

    def send(self, people: int = 3, *, group: bool = False) -> list[Delivery]:
        rows = []
        for _ in range(people):
            row = queue(make_conversation(self.instance))
            step = stepped(row.conversation)
            final = accepted(step)
            write(final)
            self.dog.accepted(replace(step, remote_jid="12036304@g.us") if group else step)
            self.evolution.records.append(echo(row, final.prov, status=Ack.SUBMITTED))
            rows.append(row)
        return rows

    def later(self, seconds: float = 91) -> bool:
        """Let time pass and look; was the instance found mute?"""
        self.now += seconds
        run(self.dog.look())
        self.instance.refresh_from_db()
        return (self.instance.gate, self.instance.gate_reason) == (Instance.Gate.PARKED, "mute")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_three_people_and_not_a_word(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.send()
    assert not scene.later(89)
    assert scene.later(2)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "an instance is mute: restart it in Evolution"
    ]


def test_two_people_are_too_few_however_many_messages(scene: Scene) -> None:
    first, second = scene.send(2)
    for row in (first, second) * 3:
        more = stepped(queue(row.conversation).conversation)
        write(accepted(more))
        scene.dog.accepted(more)
    assert not scene.later()
    assert scene.evolution.asked == 0


def test_groups_do_not_count(scene: Scene) -> None:
    scene.send(5, group=True)
    assert not scene.later()


def _acknowledged(scene: Scene, rows: list[Delivery]) -> None:
    Message.objects.filter(pk=rows[1].message_id).update(ack=Ack.SENT)


def _rejected(scene: Scene, rows: list[Delivery]) -> None:
    Message.objects.filter(pk=rows[1].message_id).update(ack_error=True)


def _customer_wrote(scene: Scene, rows: list[Delivery]) -> None:
    WebhookEvent.objects.create(instance=scene.instance, event="MESSAGES_UPSERT", body={})


def _some_ack(scene: Scene, rows: list[Delivery]) -> None:
    WebhookEvent.objects.create(instance=scene.instance, event="messages.update", body={})


def _never_acknowledged(scene: Scene, rows: list[Delivery]) -> None:
    scene.earlier.delete()


def _evolution_knows_better(scene: Scene, rows: list[Delivery]) -> None:
    scene.evolution.records[2] = replace(scene.evolution.records[2], status=Ack.DELIVERED)


def _evolution_stores_nothing(scene: Scene, rows: list[Delivery]) -> None:
    scene.evolution.records = []


@pytest.mark.parametrize(
    "sign",
    [
        _acknowledged,
        _rejected,
        _customer_wrote,
        _some_ack,
        _never_acknowledged,
        _evolution_knows_better,
        _evolution_stores_nothing,
    ],
)
def test_any_doubt_keeps_it_open(scene: Scene, sign: Callable[[Scene, list[Delivery]], None]) -> None:
    sign(scene, scene.send())
    assert not scene.later()
    assert not scene.later()
    assert scene.dog._sent == {}, "judged once"


@pytest.mark.parametrize("event", ["send.message", "connection.update", "qrcode.updated"])
def test_what_evolution_says_by_itself_is_no_sign_of_life(scene: Scene, event: str) -> None:
    scene.send()
    WebhookEvent.objects.create(instance=scene.instance, event=event, body={})
    assert scene.later()


def test_signs_of_others_or_from_before_say_nothing(scene: Scene) -> None:
    old = WebhookEvent.objects.create(instance=scene.instance, event="messages.upsert", body={})
    WebhookEvent.objects.filter(pk=old.pk).update(received_at=Now() - timedelta(seconds=600))
    WebhookEvent.objects.create(instance=make_instance(), event="messages.upsert", body={})
    scene.send()
    assert scene.later()


def test_with_evolution_away_it_is_asked_again(scene: Scene) -> None:
    scene.send()
    scene.evolution.error = EvolutionError("connect_failed", permanent=False, status=None)
    assert not scene.later()
    scene.evolution.error = None
    assert scene.later(15)


def test_an_instance_that_never_acknowledges_is_not_looked_up_each_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.earlier.delete()
    asked: list[int] = []
    monkeypatch.setattr(watchdog, "ever_acknowledged", lambda *_: bool(asked.append(1)))
    for _ in range(4):
        scene.send()
        assert not scene.later()
    assert len(asked) == 1


def test_memory_is_bounded_and_freed(scene: Scene) -> None:
    (row,) = scene.send(1)
    step = stepped(queue(row.conversation).conversation)
    for _ in range(500):
        scene.dog.accepted(step)
    assert len(scene.dog._sent[scene.instance.pk]) == watchdog.MOST_SENDS


# --- and back --------------------------------------------------------------------------------------


@pytest.fixture
def mute(scene: Scene) -> Instance:
    gate.park(scene.instance.pk, gate.MUTE)
    scene.instance.refresh_from_db()
    return scene.instance


def is_open(instance: Instance) -> bool:
    return Instance.objects.get(pk=instance.pk).gate == Instance.Gate.OPEN


async def test_that_it_calls_itself_open_proves_nothing() -> None:
    class Open:
        async def connection_state(self, ref: object) -> str:
            return "open"

    muted = Instance(name="lab", base_url="http://e.test", api_key="key", gate_reason=gate.MUTE)
    assert await gate.probe(Open(), muted) is None  # type: ignore[arg-type]


def test_an_acknowledgement_opens_it(
    scene: Scene, mute: Instance, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        acks.record_ack(mute, "3EB0EARLIER", Ack.SUBMITTED, False, None)
    assert not is_open(mute)
    with django_capture_on_commit_callbacks(execute=True):
        acks.record_ack(mute, "3EB0EARLIER", Ack.DELIVERED, False, None)
    assert is_open(mute)


def test_a_restart_opens_it(mute: Instance) -> None:
    gate.connection_changed(mute.pk, "open", 200)
    assert is_open(mute)


def test_a_customer_s_message_opens_it(mute: Instance, django_capture_on_commit_callbacks: Any) -> None:
    said = {
        "key": {"id": "3EB0BB", "remoteJid": "5511988886666@s.whatsapp.net", "fromMe": False},
        "message": {"conversation": "oi"},
        "messageType": "conversation",
        "messageTimestamp": 1_700_000_000,
    }
    body = {"event": "messages.upsert", "instance": mute.name, "data": said}
    event = WebhookEvent.objects.create(instance=mute, event="messages.upsert", body=body)
    with django_capture_on_commit_callbacks(execute=True):
        inbound.apply(WebhookEvent.objects.select_related("instance").get(pk=event.pk))
    assert is_open(mute)


def test_another_trouble_is_not_ended_by_being_heard(
    scene: Scene, django_capture_on_commit_callbacks: Any
) -> None:
    gate.park(scene.instance.pk, "logged_out")
    scene.instance.refresh_from_db()
    with django_capture_on_commit_callbacks(execute=True):
        acks.record_ack(scene.instance, "3EB0EARLIER", Ack.DELIVERED, False, None)
    assert not is_open(scene.instance)
