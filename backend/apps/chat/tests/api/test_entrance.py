"""Login, sessions, tickets, health, figures, the schema, and problems in general."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import Client, override_settings
from redis.connection import AbstractConnection
from rest_framework.test import APIClient

from apps.chat.models import Worker
from apps.chat.tests.api.world import PASSWORD, Team

LOGIN = "/api/auth/login/"


def _login(email: str, password: str, **extra: Any) -> Any:
    return APIClient().post(LOGIN, {"email": email, "password": password}, format="json", **extra)


def test_login_gives_the_token(team: Team) -> None:
    response = _login(team.user.email.upper(), PASSWORD)

    assert response.status_code == 200
    assert response.json()["token"] == team.token
    assert response.json()["tenants"] == [
        {"id": str(team.tenant.pk), "name": team.tenant.name, "role": "admin"}
    ]


@pytest.mark.parametrize(
    ("email", "password"), [("nobody@example.com", PASSWORD), ("", ""), ("x", "\u00e9" * 1024)]
)
def test_wrong_logins_are_told_apart_from_nothing(team: Team, email: str, password: str) -> None:
    assert _login(email, password).status_code in {400, 401}
    assert _login(team.user.email, "wrong").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": 1, "password": 2},
        {"email": "a\x00", "password": "b"},
        [],
        "x",
        {"email": ["a"], "password": "b"},
    ],
)
def test_nonsense_is_a_problem(db: None, body: Any) -> None:
    response = APIClient().post(LOGIN, body, format="json")

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_guessing_is_slowed_down(team: Team) -> None:
    for _ in range(10):
        assert _login(team.user.email, "wrong").status_code == 401

    response = _login(team.user.email, PASSWORD)

    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0


def test_login_works_without_the_cache(team: Team) -> None:
    nowhere = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    with override_settings(CACHES={"default": nowhere}):
        assert _login(team.user.email, PASSWORD).status_code == 200
        assert _login(team.user.email, "wrong").status_code == 401


def test_a_session_may_read_and_needs_the_csrf_token_to_write(team: Team) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(team.user)
    body = json.dumps({"conversation": str(team.conversation.pk), "content": "Olá"})

    assert client.get("/api/chat/conversations/").status_code == 200
    refused = client.post("/api/chat/messages/", body, content_type="application/json")
    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/problem+json"
    client.get("/")
    token = client.cookies["csrftoken"].value
    accepted = client.post(
        "/api/chat/messages/", body, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert accepted.status_code == 201, accepted.content


def test_a_ticket_is_kept_under_its_hash_for_a_minute(team: Team, redis_client: redis.Redis) -> None:
    answer = team.post("ws-ticket/").json()

    assert answer["expires_in"] == 60
    keys = list(redis_client.keys("*ws-ticket*"))
    assert len(keys) == 1
    assert answer["ticket"].encode() not in keys[0]
    assert 0 < redis_client.ttl(keys[0]) <= 60


@override_settings(CACHE_REDIS_URL="redis://127.0.0.1:1/0")
def test_no_ticket_without_redis(team: Team) -> None:
    response = team.post("ws-ticket/")

    assert response.status_code == 503
    assert response.json()["code"] == "queue_away"


def test_the_status_of_the_queues(team: Team) -> None:
    Worker.objects.create(name="alive")
    body = team.get("reactions/queues/status/").json()

    assert set(body) == {"metrics", "stream_metrics", "media_metrics", "workers", "alerts", "timestamp"}
    assert body["media_metrics"] == {"waiting": 0, "oldest_age_seconds": None, "queue": None}
    assert set(body["stream_metrics"]) == {
        "send_message_stream", "mark_as_read_stream", "dead_letter_stream", "total_streams_length",
    }  # fmt: skip
    assert body["metrics"]["total"] == 0
    assert [(row["name"], row["alive"]) for row in body["workers"]] == [("alive", True)]
    assert body["alerts"] == []


def test_the_status_costs_few_statements_and_one_round_trip_for_each_redis_client(
    team: Team, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    """Token with user and tenants, files, workers, numbers; the lists, the streams."""
    client, sent = team.client, []
    client.get("/api/chat/reactions/queues/status/")  # connections are made and greeted once
    send = AbstractConnection.send_packed_command
    monkeypatch.setattr(
        AbstractConnection, "send_packed_command", lambda *args, **how: sent.append(1) or send(*args, **how)
    )
    with django_assert_num_queries(4):
        assert client.get("/api/chat/reactions/queues/status/").status_code == 200

    assert len(sent) == 2


def test_alerts(team: Team, redis_url: str) -> None:
    lists = redis.Redis.from_url(settings.CHAT_QUEUE_REDIS_URL)
    streams = redis.Redis.from_url(settings.CHAT_STREAM_REDIS_URL)
    lists.lpush("chat:queue:fetch_profile_pic", *["{}"] * 1001)
    streams.xgroup_create(
        settings.CHAT_STREAM_SEND_NAME, settings.CHAT_STREAM_CONSUMER_GROUP, "0", mkstream=True
    )
    for _ in range(201):
        streams.xadd(settings.CHAT_STREAM_SEND_NAME, {"payload": "{}"}, id="1-*")
    streams.xadd(settings.CHAT_STREAM_DLQ_NAME, {"payload": "{}"})

    codes = {row["code"] for row in team.get("reactions/queues/status/").json()["alerts"]}

    assert codes == {"list_long", "stream_long", "stream_old", "dead_letters", "no_workers"}


def test_the_status_without_redis_is_an_alert(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CHAT_QUEUE_REDIS_URL", "redis://127.0.0.1:1/2")
    monkeypatch.setattr(settings, "CHAT_STREAM_REDIS_URL", "redis://127.0.0.1:1/3")

    response = team.get("reactions/queues/status/")

    assert response.status_code == 200
    assert "redis_away" in {row["code"] for row in response.json()["alerts"]}


def test_alive_and_ready(db: None, client: Client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json()["consumers"] == "missing"
    assert client.get("/readyz").status_code == 503
    Worker.objects.create(name="w")
    assert client.get("/readyz").json() == {
        "status": "ok",
        "database": "ok",
        "redis": "ok",
        "consumers": "ok",
    }
    assert client.get("/readyz").status_code == 200


def test_not_ready_without_redis(db: None, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    Worker.objects.create(name="w")
    monkeypatch.setattr(settings, "CHAT_QUEUE_REDIS_URL", "redis://127.0.0.1:1/2")

    assert client.get("/readyz").json()["redis"] == "missing"


def test_figures_are_for_private_networks_or_the_token(team: Team, client: Client) -> None:
    team.message()
    body = client.get("/metrics").content.decode()
    assert 'chat_deliveries{state="queued"} 1.0' in body
    assert "chat_stream_length" in body
    assert str(team.tenant.pk) not in body

    assert client.get("/metrics", REMOTE_ADDR="8.8.8.8").status_code == 403
    assert client.get("/metrics", headers={"X-Forwarded-For": "8.8.8.8"}).status_code == 403
    with override_settings(METRICS_TOKEN="secret"):
        assert client.get("/metrics").status_code == 403
        assert client.get("/metrics", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_schema_describes_every_address(db: None, client: Client) -> None:
    schema = client.get("/api/schema/?format=json").json()

    assert "/api/chat/messages/" in schema["paths"]
    assert "/api/chat/conversations/start/" in schema["paths"]
    assert schema["components"]["securitySchemes"].keys() == {"token", "session"}


def test_the_schemas_of_messages_and_conversations_are_what_is_answered(team: Team, client: Client) -> None:
    parts = client.get("/api/schema/?format=json").json()["components"]["schemas"]
    message = team.say().json()
    conversation = team.get(f"conversations/{team.conversation.pk}/").json()
    letter = team.get("dead-letters/").json()["results"] if team.failed() else []
    instance = team.get("instances/").json()["results"][0]

    assert parts["Message"]["properties"].keys() == message.keys()
    assert parts["Conversation"]["properties"].keys() == conversation.keys()
    assert parts["DeadLetter"]["properties"].keys() == letter[0].keys()
    assert parts["Instance"]["properties"].keys() == instance.keys()


def test_the_page_of_the_schema_asks_nobody_else(db: None, client: Client) -> None:
    page = client.get("/api/schema/docs/").content.decode()

    assert "swagger-ui" in page
    assert "//cdn" not in page
    assert "https://" not in page


def test_unknown_addresses_are_problems_under_api(db: None, client: Client) -> None:
    response = client.get("/api/chat/nothing/")

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["instance"] == "/api/chat/nothing/"


def test_a_wrong_method_is_a_problem(team: Team) -> None:
    response = team.client.delete("/api/chat/conversations/")

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
