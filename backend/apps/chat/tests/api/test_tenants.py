"""What is another tenant's does not exist, on every endpoint."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from apps.chat.api import urls
from apps.chat.models import ContactMerge, Delivery, Message, MessageAttachment
from apps.chat.tests.api.world import PASSWORD, Team
from apps.tenancy.models import ApiToken, User

ABOUT_CONVERSATIONS = [
    ("get", "conversations/{conversation}/", None),
    ("get", "conversations/{conversation}/messages/", None),
    ("post", "conversations/{conversation}/messages/", {"content": "a"}),
    ("post", "conversations/{conversation}/mark_as_read/", {}),
    ("post", "conversations/{conversation}/assign/", {"user_id": None}),
    ("post", "conversations/{conversation}/close/", {}),
    ("post", "conversations/{conversation}/reopen/", {}),
    ("post", "conversations/{conversation}/refresh-info/", {}),
    ("get", "contacts/{contact}/picture/", None),
    ("get", "contacts/{contact}/merges/", None),
    ("post", "contacts/{contact}/merges/{merge}/undo/", {}),
    ("post", "messages/", {"conversation": "{conversation}", "content": "a"}),
]
ABOUT_MESSAGES = [
    ("get", "messages/{message}/", None),
    ("post", "messages/{message}/retry-send/", {}),
    ("post", "messages/{message}/cancel/", {}),
    ("post", "messages/{message}/edit/", {"content": "b"}),
    ("patch", "messages/{message}/edit/", {"content": "b"}),
    ("post", "messages/{message}/delete/", {}),
    ("delete", "messages/{message}/delete/", None),
    ("get", "messages/{message}/timeline/", None),
    ("post", "messages/{message}/release/", {"action": "send"}),
    ("post", "reactions/add/", {"message": "{message}", "emoji": "\u2764"}),
    ("post", "reactions/remove/", {"message": "{message}"}),
    ("delete", "reactions/remove/", {"message": "{message}"}),
    ("get", "dead-letters/{message}/", None),
    ("post", "dead-letters/{message}/replay/", {}),
    ("post", "dead-letters/{message}/discard/", {}),
]
ABOUT_INSTANCES = [
    ("get", "instances/{instance}/", None),
    ("post", "instances/{instance}/release-stale/", {"action": "discard"}),
    ("patch", "instances/{instance}/", {"read_receipts": "never"}),
    ("delete", "instances/{instance}/", None),
    ("post", "instances/{instance}/connect/", {}),
    ("get", "instances/{instance}/qr-code/", None),
    ("post", "instances/{instance}/restart/", {}),
    ("post", "instances/{instance}/logout/", {}),
    ("get", "instances/{instance}/state/", None),
    ("post", "instances/{instance}/setup-webhook/", {}),
    ("post", "instances/", {"name": "x", "tenant": "{tenant}"}),
]
ABOUT_ATTACHMENTS = [
    ("get", "attachments/{attachment}/", None),
    ("get", "attachments/{attachment}/content/", None),
    ("get", "attachments/{attachment}/thumbnail/", None),
    ("post", "attachments/{attachment}/download-again/", {}),
]
ALL = ABOUT_CONVERSATIONS + ABOUT_MESSAGES + ABOUT_INSTANCES + ABOUT_ATTACHMENTS
LISTS = ["conversations/", "dead-letters/", "instances/", "reactions/queues/status/"]


def _call(team: Team, method: str, path: str, body: Any, ids: dict[str, Any]) -> Any:
    if isinstance(body, dict):
        body = {key: value.format(**ids) if isinstance(value, str) else value for key, value in body.items()}
    return getattr(team.client, method)(f"/api/chat/{path.format(**ids)}", body, format="json")


def _merge(team: Team) -> UUID:
    left = {"id": str(uuid4()), "name": "", "phone": "", "addresses": [], "conversations": []}
    return ContactMerge.objects.create(tenant=team.tenant, contact=team.conversation.contact, left=left).pk


def _attachment(team: Team) -> UUID:
    message = team.incoming(kind="image")
    return MessageAttachment.objects.create(
        tenant=team.tenant, message=message, status="failed", source={}
    ).pk


@pytest.mark.parametrize(("method", "path", "body"), ALL)
def test_what_belongs_to_others_is_not_found(
    team: Team, others: Team, method: str, path: str, body: Any
) -> None:
    message = others.failed()
    ids = {"conversation": others.conversation.pk, "message": message.pk, "instance": others.instance.pk}
    ids["contact"] = others.conversation.contact_id
    ids |= {"tenant": others.tenant.pk, "merge": _merge(others), "attachment": _attachment(others)}
    before = _snapshot()

    response = _call(team, method, path, body, ids)

    assert response.status_code == 404, response.content
    assert response.json()["code"] == "not_found"
    assert _snapshot() == before


@pytest.mark.parametrize(("method", "path", "body"), ALL)
def test_what_does_not_exist_reads_the_same(team: Team, method: str, path: str, body: Any) -> None:
    names = ("conversation", "message", "instance", "contact", "tenant", "merge", "attachment")
    ids = dict.fromkeys(names, uuid4())

    assert _call(team, method, path, body, ids).status_code == 404


@pytest.mark.parametrize(("method", "path", "body"), [*ALL, *(("get", path, None) for path in LISTS)])
def test_nobody_gets_in_without_a_token(team: Team, method: str, path: str, body: Any) -> None:
    ids = {"conversation": team.conversation.pk, "message": uuid4(), "instance": team.instance.pk}
    ids |= {"contact": team.conversation.contact_id, "tenant": team.tenant.pk, "merge": uuid4()}
    ids["attachment"] = _attachment(team)

    response = getattr(APIClient(), method)(f"/api/chat/{path.format(**ids)}", body, format="json")

    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"


def test_every_address_with_an_id_is_in_the_table() -> None:
    routed = {str(row.pattern) for row in urls.urlpatterns if "pk" in str(row.pattern)}
    tabled = {path.replace("{conversation}", "<uuid:pk>").replace("{message}", "<uuid:pk>").replace("{instance}", "<uuid:pk>").replace("{contact}", "<uuid:pk>").replace("{attachment}", "<uuid:pk>").replace("{merge}", "<uuid:merge_id>") for _, path, _ in ALL}  # fmt: skip  # noqa: E501

    assert routed <= tabled


def test_lists_show_ones_own_only(team: Team, others: Team) -> None:
    others.failed()

    shown = {path: team.get(path).json() for path in LISTS}

    assert [row["id"] for row in shown["conversations/"]["results"]] == [str(team.conversation.pk)]
    assert shown["dead-letters/"]["results"] == []
    assert [row["id"] for row in shown["instances/"]["results"]] == [str(team.instance.pk)]


def test_filters_do_not_reach_across(team: Team, others: Team) -> None:
    for params in ({"instance": str(others.instance.pk)}, {"tenant": str(others.tenant.pk)}):
        assert team.get("conversations/", **params).json()["results"] == []


def test_bulk_replay_does_not_reach_across(team: Team, others: Team) -> None:
    message = others.failed()

    result = team.post("dead-letters/replay/", {"ids": [str(message.pk)]}).json()

    assert (result["matched"], result["replayed"]) == (0, 0)
    assert Delivery.objects.get(message=message).state == Delivery.State.FAILED


def test_a_conversation_starts_from_ones_own_number_only(team: Team, others: Team) -> None:
    body = {"contact_phone": "+5585990000009", "instance_id": str(others.instance.pk)}

    assert team.post("conversations/start/", body).status_code == 400
    body = {"contact_phone": "+5585990000009", "tenant": str(others.tenant.pk)}
    assert team.post("conversations/start/", body).status_code in {200, 201, 400}
    assert others.get("conversations/").json()["results"][0]["id"] == str(others.conversation.pk)
    assert len(others.get("conversations/").json()["results"]) == 1


def test_a_conversation_is_not_given_to_strangers(team: Team, others: Team) -> None:
    response = team.post(f"conversations/{team.conversation.pk}/assign/", {"user_id": str(others.user.pk)})

    assert response.status_code == 400


def test_a_user_without_a_team_sees_nothing(db: None) -> None:
    user = User.objects.create_user("alone@example.com", PASSWORD)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {ApiToken.of(user)}")

    assert client.get("/api/chat/conversations/").status_code == 403


def test_a_user_who_left_is_out(team: Team) -> None:
    User.objects.filter(pk=team.user.pk).update(is_active=False)

    assert team.get("conversations/").status_code == 401


def test_no_answer_holds_a_credential(team: Team) -> None:
    message = team.failed()
    paths = [*LISTS, f"instances/{team.instance.pk}/", f"conversations/{team.conversation.pk}/"]
    paths += [f"messages/{message.pk}/timeline/", f"dead-letters/{message.pk}/"]
    for path in paths:
        text = team.get(path).content.decode()
        for secret in ("the-evolution-key", "the-webhook-secret", team.token, "api_key", "webhook_secret"):
            assert secret not in text, (path, secret)


def _snapshot() -> Any:
    deliveries = Delivery.objects.order_by("pk").values(
        "pk", "state", "seq", "fence", "failure_gen", "reason"
    )
    return list(deliveries), list(Message.objects.order_by("pk").values("pk", "content"))
