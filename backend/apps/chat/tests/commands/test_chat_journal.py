"""`chat_journal`: showing, replaying with a state that stays the same, pruning."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from apps.chat import inbound, upkeep
from apps.chat.models import Evidence, Instance, Message, MessageReaction, WebhookEvent

from ..inbound.conftest import edit_body, journalled, message_body, reaction_body, status_body
from ..inbound.conftest import instance as instance
from ..inbound.conftest import tenant as tenant
from .run import run

State = WebhookEvent.State


@pytest.fixture
def told(instance: Instance) -> list[WebhookEvent]:
    """A small story, journalled and applied."""
    bodies = [
        message_body("A1", "um"),
        edit_body("A1", "dois", 1_795_291_260_000),
        message_body("O1", "da loja", from_me=True),
        status_body("O1", "READ"),
        reaction_body("\U0001f44d", target="A1"),
        status_body("NOBODY", "READ"),
    ]
    rows = [journalled(instance, body) for body in bodies]
    for row in rows:
        inbound.apply(row)
    WebhookEvent.objects.update(state=State.APPLIED)
    return rows


def test_replaying_twice_leaves_the_state_as_it_is(told: list[WebhookEvent]) -> None:
    first = json.loads(run("chat_journal", "replay", "--all", "--json").out)
    second = json.loads(run("chat_journal", "replay", "--all", "--json").out)
    (state,), (again,) = first["instances"], second["instances"]
    assert first["applied"] == len(told)
    assert first["failed"] == []
    assert not state["changed"]
    assert state["before"] == state["after"] == again["after"]
    assert len(state["after"]) == 64


def test_the_hash_sees_a_difference(told: list[WebhookEvent]) -> None:
    Message.objects.filter(provider_id="O1").update(content="anders")
    MessageReaction.objects.all().delete()
    ran = run("chat_journal", "replay", "--id", str(told[4].pk))
    assert ran.code == 0
    assert "1 webhooks applied" in ran.out
    assert "(changed, before" in ran.out


def test_replaying_brings_back_what_was_lost(told: list[WebhookEvent], instance: Instance) -> None:
    before = json.loads(run("chat_journal", "replay", "--all", "--json").out)["instances"][0]["after"]
    Message.objects.all().delete()
    Evidence.objects.all().delete()
    after = json.loads(run("chat_journal", "replay", "--instance", instance.name, "--json").out)
    assert after["instances"][0]["changed"]
    assert Message.objects.get(provider_id="A1").content == "dois"
    assert (
        json.loads(run("chat_journal", "replay", "--all", "--json").out)["instances"][0]["changed"] is False
    )
    assert before


def test_a_failed_webhook_is_applied_by_a_replay(told: list[WebhookEvent]) -> None:
    WebhookEvent.objects.filter(pk=told[0].pk).update(state=State.FAILED, note="OperationalError")
    assert run("chat_journal", "replay", "--state", "failed").code == 0
    assert WebhookEvent.objects.get(pk=told[0].pk).state == State.APPLIED


def test_one_that_cannot_be_applied_does_not_stop_the_others(
    told: list[WebhookEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inbound.apply

    def broken(row: WebhookEvent) -> str:
        if row.pk == told[0].pk:
            raise RuntimeError("no")
        return real(row)

    monkeypatch.setattr("apps.chat.inbound.apply", broken)
    ran = run("chat_journal", "replay", "--all")
    assert ran.code == 1
    assert f"{len(told) - 1} webhooks applied, 1 failed" in ran.out
    assert "RuntimeError" in ran.out


def test_showing_tells_no_words_unless_asked(told: list[WebhookEvent]) -> None:
    ran = run("chat_journal", "show", "--event", "messages.upsert")
    assert "3 webhooks." in ran.out
    assert "da loja" not in ran.out
    assert "da loja" in run("chat_journal", "show", "--id", str(told[2].pk), "--body").out
    first, last = told[0].pk, told[1].pk
    shown = json.loads(run("chat_journal", "show", "--id", f"{first}-{last}", "--json").out)
    assert [one["id"] for one in shown["events"]] == [first, last]


def test_choosing_by_time(told: list[WebhookEvent]) -> None:
    assert "0 webhooks." in run("chat_journal", "show", "--since", "2026-11-22").out
    assert "6 webhooks." in run("chat_journal", "show", "--since", "2026-11-21T20:00:00Z").out
    assert "0 webhooks." in run("chat_journal", "show", "--until", "2026-11-21T20:00:00").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["show", "--id", "x"],
        ["show", "--since", "yesterday"],
        ["show", "--instance", "nobody"],
        ["prune", "--days", "-1"],
    ],
)
def test_wrong_arguments_are_told(told: list[WebhookEvent], arguments: list[str]) -> None:
    assert run("chat_journal", *arguments).code == 2


def test_pruning_keeps_what_is_young_and_what_is_still_to_be_done(told: list[WebhookEvent]) -> None:
    ages = (31, 31, 31, 29, 31, 121)
    states = (State.APPLIED, State.NEW, State.FAILED, State.APPLIED, State.IGNORED, State.FAILED)
    for row, age, state in zip(told, ages, states, strict=True):
        at = timezone.now() - timedelta(days=age)
        WebhookEvent.objects.filter(pk=row.pk).update(received_at=at, state=state)
    assert "3 webhooks older than 30 days would be removed" in run("chat_journal", "prune", "--dry-run").out
    assert "3 webhooks older than 30 days were removed" in run("chat_journal", "prune").out
    kept = set(WebhookEvent.objects.values_list("pk", flat=True))
    assert kept == {told[1].pk, told[2].pk, told[3].pk}


def test_a_batch_bounds_one_look(told: list[WebhookEvent]) -> None:
    WebhookEvent.objects.update(received_at=F("received_at") - timedelta(days=400))
    assert upkeep.prune_journal(30, limit=4) == 4
    assert upkeep.prune_journal(30, limit=4) == 2


def test_old_evidence_goes_when_no_attempt_may_need_it(told: list[WebhookEvent]) -> None:
    assert Evidence.objects.get().provider_id == "NOBODY"
    assert upkeep.prune_evidence() == 0
    Evidence.objects.update(created_at=timezone.now() - timedelta(days=15))
    assert upkeep.prune_evidence() == 1
    assert not Evidence.objects.exists()
