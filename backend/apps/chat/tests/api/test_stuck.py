"""Messages that are stuck: cancel, edit, release, send again, dead letters, and their timeline."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from apps.chat.models import Attempt, Delivery, Message
from apps.chat.tests.api.world import Team, set_state

State = Delivery.State


def _status(team: Team, message: Message) -> str:
    return team.get(f"messages/{message.pk}/").json()["status"]


def test_cancelling_a_queued_message_stops_it(team: Team) -> None:
    message = team.message()

    response = team.post(f"messages/{message.pk}/cancel/")

    assert (response.status_code, response.json()["result"]) == (200, "stopped")
    assert response.json()["status"] == "cancelled"
    assert team.post(f"messages/{message.pk}/cancel/").status_code == 409


def test_cancelling_one_in_flight_is_pending(team: Team) -> None:
    message = team.message()
    set_state(message.pk, State.SENDING)

    assert team.post(f"messages/{message.pk}/cancel/").json()["result"] == "pending"


@pytest.mark.parametrize("action", ["cancel", "retry-send", "delete"])
def test_a_customers_message_is_not_ours_to_act_on(team: Team, action: str) -> None:
    assert team.post(f"messages/{team.incoming().pk}/{action}/").status_code == 409


@pytest.mark.parametrize("method", ["post", "patch"])
def test_editing_what_has_not_left(team: Team, method: str) -> None:
    message = team.message("Ola")

    response = getattr(team.client, method)(
        f"/api/chat/messages/{message.pk}/edit/", {"content": "Olá"}, format="json"
    )

    assert response.status_code == 200
    assert response.json()["content"] == "Olá"
    assert response.json()["edited_at"]


def test_editing_what_has_left_is_a_delivery_of_its_own(team: Team) -> None:
    message = team.message("Ola")
    set_state(message.pk, State.SENT)

    assert team.post(f"messages/{message.pk}/edit/", {"content": " "}).status_code == 400
    assert team.post(f"messages/{message.pk}/edit/", {"content": "Olá"}).status_code == 200
    assert Message.objects.get(pk=message.pk).content == "Ola", "changed once WhatsApp has taken it"
    edit = Delivery.objects.get(message=message, kind=Delivery.Kind.EDIT)
    assert (edit.state, edit.payload) == (State.QUEUED, {"text": "Olá"})


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_editing_what_never_went_out_is_a_conflict(team: Team, state: int) -> None:
    message = team.message("Ola")
    set_state(message.pk, state)
    assert team.post(f"messages/{message.pk}/edit/", {"content": "Olá"}).status_code == 409


@pytest.mark.parametrize("method", ["post", "delete"])
def test_deleting(team: Team, method: str) -> None:
    queued, sent = team.message(), team.message()
    set_state(sent.pk, State.SENT)

    def delete(message: Message) -> Any:
        return getattr(team.client, method)(f"/api/chat/messages/{message.pk}/delete/", format="json")

    assert delete(queued).json()["status"] == "cancelled"
    assert delete(sent).json()["result"] == "pending"
    assert Delivery.objects.filter(message=sent, kind=Delivery.Kind.DELETE, state=State.QUEUED).count() == 1


@pytest.mark.parametrize(("action", "status"), [("send", "queued"), ("discard", "cancelled")])
def test_releasing_a_held_message(team: Team, action: str, status: str) -> None:
    message = team.message()
    set_state(message.pk, State.HELD, reason="gateway_error")

    response = team.post(f"messages/{message.pk}/release/", {"action": action})

    assert (response.status_code, response.json()["status"]) == (200, status)
    assert team.post(f"messages/{message.pk}/release/", {"action": action}).status_code == 409


@pytest.mark.parametrize("body", [{}, {"action": "x"}, {"action": None}, {"action": 1}])
def test_releasing_wants_a_decision(team: Team, body: Any) -> None:
    message = team.message()
    set_state(message.pk, State.HELD)

    assert team.post(f"messages/{message.pk}/release/", body).status_code == 400


def test_a_held_message_says_why_in_two_languages(team: Team) -> None:
    message = team.message()
    set_state(message.pk, State.HELD, reason="gateway_error", attempts=1)

    shown = team.get(f"messages/{message.pk}/").json()

    assert (shown["status"], shown["reason"]) == ("held", "gateway_error")
    assert shown["reason_text"]["en"] and shown["reason_text"]["pt"]


def test_sending_again_once(team: Team) -> None:
    message, behind = team.failed(), team.message("depois")
    gen = team.get(f"messages/{message.pk}/").json()["failure_gen"]

    first = team.post(f"messages/{message.pk}/retry-send/", {"failure_gen": gen})
    twice = team.post(f"messages/{message.pk}/retry-send/", {"failure_gen": gen})

    assert first.status_code == 200, first.content
    assert first.json()["held_by"] == str(behind.pk)
    assert twice.status_code == 409
    assert _status(team, message) in {"queued", "retrying"}


@pytest.mark.parametrize("gen", ["x", -1, 2**40, 1.5])
def test_a_wrong_failure_number_is_a_problem(team: Team, gen: Any) -> None:
    response = team.post(f"messages/{team.failed().pk}/retry-send/", {"failure_gen": gen})

    assert response.status_code == 400


def test_dead_letters_are_listed_replayed_and_discarded(team: Team) -> None:
    one, two = team.failed("um"), team.failed("dois", reason="text_unsendable")

    rows = team.get("dead-letters/").json()["results"]
    assert [row["id"] for row in rows] == [str(two.pk), str(one.pk)]
    assert rows[0]["reason"] == "text_unsendable"
    assert rows[0]["message"]["content"] == "dois"
    assert rows[0]["attempts"] == 5
    assert [row["id"] for row in team.get("dead-letters/", reason="not_on_whatsapp").json()["results"]] == [
        str(one.pk)
    ]

    assert team.post(f"dead-letters/{one.pk}/replay/").status_code == 200
    assert team.post(f"dead-letters/{two.pk}/discard/").json()["status"] == "cancelled"
    assert team.post(f"dead-letters/{two.pk}/discard/").status_code == 409
    assert team.post(f"dead-letters/{two.pk}/replay/").status_code == 409
    assert team.get("dead-letters/").json()["results"] == []


def test_dead_letters_come_in_pages(team: Team) -> None:
    made = [str(team.failed(str(n)).pk) for n in range(5)]

    first = team.get("dead-letters/", limit=2).json()
    second = team.client.get(first["next"]).json()
    third = team.client.get(second["next"]).json()

    pages = [[row["id"] for row in page["results"]] for page in (first, second, third)]
    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]
    assert third["next"] is None


def test_replaying_in_bulk_can_be_tried_dry(team: Team) -> None:
    made = [str(team.failed(str(n)).pk) for n in range(3)]
    team.failed("outro", reason="text_unsendable")

    dry = team.post("dead-letters/replay/", {"dry_run": True, "reason": "not_on_whatsapp"}).json()
    assert (dry["matched"], dry["replayed"], dry["ids"]) == (3, 0, made)
    assert len(team.get("dead-letters/").json()["results"]) == 4

    wet = team.post("dead-letters/replay/", {"reason": "not_on_whatsapp"}).json()
    assert (wet["matched"], wet["replayed"], wet["skipped"]) == (3, 3, 0)
    assert [row["reason"] for row in team.get("dead-letters/").json()["results"]] == ["text_unsendable"]
    lane = Delivery.objects.filter(message_id__in=made).order_by("seq").values_list("message_id", flat=True)
    assert [str(row) for row in lane] == made


@pytest.mark.parametrize(
    "body", [{"ids": "x"}, {"ids": ["x"]}, {"limit": 0}, {"dry_run": "maybe"}, {"instance": "x"}]
)
def test_bulk_nonsense_is_a_problem(team: Team, body: Any) -> None:
    assert team.post("dead-letters/replay/", body).status_code == 400


def test_the_timeline_tells_everything_by_time(team: Team) -> None:
    message = team.message()
    delivery = Delivery.objects.get(message=message)
    Attempt.objects.create(
        delivery=delivery,
        conversation=team.conversation,
        instance=team.instance,
        n=1,
        fence=1,
        fingerprint=delivery.fingerprint,
        step_at=timezone.now(),
        closed=Attempt.Closed.NOT_SENT,
        closed_at=timezone.now(),
        reason="connect_failed",
        http_status=None,
    )
    set_state(message.pk, State.FAILED, attempts=1, finished_at=timezone.now())
    team.post(f"messages/{message.pk}/retry-send/")
    Message.objects.filter(pk=message.pk).update(sent_at=timezone.now(), delivered_at=timezone.now())

    body = team.get(f"messages/{message.pk}/timeline/").json()

    told = [entry["event"] for entry in body["results"]]
    assert told == ["created", "attempt_started", "attempt_not_sent", "replayed", "sent", "delivered"]
    assert [entry["at"] for entry in body["results"]] == sorted(entry["at"] for entry in body["results"])
    assert body["results"][2]["detail"]["reason_text"]["pt"]
    assert body["message"]["id"] == str(message.pk)
