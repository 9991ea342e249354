"""`POST messages/`: accepted once, under its name, or refused with nothing stored."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from apps.chat.models import Delivery, Message
from apps.chat.tests.api.world import Team, make_team


def test_it_accepts_a_message_and_queues_its_delivery(team: Team) -> None:
    response = team.say("Bom dia", client_message_id="a-1")

    assert response.status_code == 201, response.content
    body = response.json()
    assert body["status"] == "queued"
    assert body["content"] == "Bom dia"
    assert body["direction"] == "outgoing"
    assert body["client_message_id"] == "a-1"
    assert body["conversation"] == str(team.conversation.pk)
    assert body["sender"] == {"id": str(team.user.pk), "name": "Ana"}
    delivery = Delivery.objects.get(message_id=body["id"])
    assert (delivery.state, delivery.seq, delivery.tenant_id) == (0, 1, team.tenant.pk)


def test_the_answer_to_a_post_is_what_a_get_shows(team: Team) -> None:
    posted = team.say().json()

    shown = team.get(f"messages/{posted['id']}/").json()

    assert shown == {**posted, "position": 0, "leaves_in_seconds": 0}


def test_the_same_name_again_answers_the_same_message(team: Team) -> None:
    first = team.say("Olá", client_message_id="x")

    again = team.say("Olá", client_message_id="x")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert Message.objects.filter(conversation=team.conversation).count() == 1
    assert Delivery.objects.filter(conversation=team.conversation).count() == 1


def test_the_same_name_for_something_else_is_a_conflict(team: Team) -> None:
    team.say("Olá", client_message_id="x")

    response = team.say("Adeus", client_message_id="x")

    assert response.status_code == 409
    assert response.json()["code"] == "conflict"
    assert Message.objects.count() == 1


def test_two_tenants_may_use_the_same_name(team: Team, others: Team) -> None:
    assert team.say(client_message_id="x").status_code == 201
    assert others.say(client_message_id="x").status_code == 201


def test_writing_opens_a_pending_conversation_and_shows_in_its_entry(team: Team) -> None:
    team.conversation.status = "pending"
    team.conversation.save()

    team.say("linha um\nlinha dois")

    shown = team.get(f"conversations/{team.conversation.pk}/").json()
    assert shown["status"] == "open"
    assert shown["last_message_preview"] == "linha um linha dois"


def test_a_reply_quotes_a_message_of_its_conversation(team: Team) -> None:
    asked = team.incoming("Que horas?")

    response = team.say("Às dez", reply_to=str(asked.pk))

    assert response.json()["reply_to"] == str(asked.pk)
    assert Message.objects.get(pk=response.json()["id"]).quoted_provider_id == asked.provider_id


def test_a_reply_to_another_conversation_is_refused(team: Team, others: Team) -> None:
    response = team.say("Às dez", reply_to=str(others.incoming().pk))

    assert response.status_code == 400
    assert Message.objects.filter(direction="outgoing").count() == 0


BAD: list[tuple[str, dict[str, Any], int]] = [
    ("no text", {"content": None}, 400),
    ("empty", {"content": ""}, 400),
    ("white space", {"content": " \n\t \u00a0\u2003"}, 400),
    ("only a byte order mark", {"content": "\ufeff"}, 400),
    ("too long", {"content": "a" * 65_537}, 400),
    ("NUL", {"content": "a\x00b"}, 400),
    ("half a character", {"content": "a\ud83d"}, 400),
    ("a number", {"content": 5}, 400),
    ("a list", {"content": ["a"]}, 400),
    ("an object", {"content": {"a": 1}}, 400),
    ("a flag", {"content": True}, 400),
    ("no id", {"conversation": "x"}, 400),
    ("a number for an id", {"conversation": 7}, 400),
    ("null for an id", {"conversation": None}, 400),
    ("an unknown conversation", {"conversation": str(uuid.uuid4())}, 404),
    ("empty name", {"client_message_id": ""}, 400),
    ("long name", {"client_message_id": "n" * 129}, 400),
    ("a number for a name", {"client_message_id": 1}, 400),
    ("NUL in the name", {"client_message_id": "\x00"}, 400),
    ("half a character in the name", {"client_message_id": "\udc00"}, 400),
    ("unknown quoted message", {"reply_to": str(uuid.uuid4())}, 400),
    ("no quoted id", {"reply_to": "x"}, 400),
    ("attachments", {"attachments": [{"url": "http://a"}]}, 400),
]


@pytest.mark.parametrize(("what", "fields", "status"), BAD, ids=[row[0] for row in BAD])
def test_it_refuses(team: Team, what: str, fields: dict[str, Any], status: int) -> None:
    response = team.say(**fields)

    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["title"] and body["detail"] and body["code"] and body["type"]
    assert body["instance"] == "/api/chat/messages/"
    assert not Message.objects.exists()
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    "content",
    ["a" * 65_536, "👩‍👩‍👧‍👦", "\u202eabc", "a\r\nb", "  spaces kept  ", "ﷺ", "<script>alert(1)</script>"],
)
def test_it_takes_texts_as_they_are(team: Team, content: str) -> None:
    response = team.say(content)

    assert response.status_code == 201
    assert response.json()["content"] == content
    assert Message.objects.get().content == content


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"5", b"\xff\xfe", b'{"content": "\xff"}', b"{" * 5000,
        b"[" * 200_000, b'{"content": NaN}', b'{"content": "\\ud800", "conversation": "x"}', b"9" * 10_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "charset", ["", "; charset=utf-8", "; charset=zlib", "; charset=hex", "; charset=utf-16"]
)
def test_garbage_is_a_problem_and_never_a_crash(team: Team, raw: bytes, charset: str) -> None:
    response = team.client.generic("POST", "/api/chat/messages/", raw, f"application/json{charset}")

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_a_body_of_two_megabytes_is_too_large(team: Team) -> None:
    response = team.say("a" * 2_000_000)

    assert response.status_code == 413
    assert response.json()["code"] == "too_large"


def test_forms_are_not_taken(team: Team) -> None:
    response = team.client.post("/api/chat/messages/", {"content": "a"}, format="multipart")

    assert response.status_code == 415


def test_nobody_writes_without_a_token(team: Team) -> None:
    for client in (APIClient(), _with("Token wrong"), _with("Bearer x"), _with("Token"), _with("Token \xff")):
        response = client.post("/api/chat/messages/", {"content": "a"}, format="json")
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Token"


def _with(header: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    return client


def test_the_path_of_a_message_is_short(team: Team) -> None:
    """Token with user and tenants, conversation, place in the lane under its lock, message, delivery."""
    body = {"conversation": str(team.conversation.pk), "content": "Olá", "client_message_id": "q"}
    client = team.client
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/api/chat/messages/", body, format="json").status_code == 201

    said = [
        row["sql"]
        for row in queries
        if not row["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))
    ]
    assert len(said) == 5, said


@pytest.mark.django_db(transaction=True)
def test_equal_requests_at_once_make_one_message() -> None:
    team = make_team("Ana")
    answers: list[Any] = []
    barrier = threading.Barrier(6)

    def post() -> None:
        barrier.wait()
        answers.append(team.say("Olá", client_message_id="once"))
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Delivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_unequal_requests_under_one_name_at_once_make_one_message() -> None:
    team = make_team("Ana")
    answers: list[Any] = []
    barrier = threading.Barrier(4)

    def post(n: int) -> None:
        barrier.wait()
        answers.append(team.say(f"Olá {n}", client_message_id="once"))
        connection.close()

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert Message.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_messages_stand_in_the_order_of_their_lane() -> None:
    team = make_team("Ana")

    def post(n: int) -> None:
        for i in range(5):
            assert team.say(f"{n}.{i}").status_code == 201
        connection.close()

    threads = [threading.Thread(target=post, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lane = list(Delivery.objects.order_by("seq").values_list("message_id", flat=True))
    thread_order = list(Message.objects.order_by("sort_at", "id").values_list("id", flat=True))
    assert lane == thread_order
