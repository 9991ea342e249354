"""`chat_bootstrap`: one JSON object, the same at each run, and clear words for what cannot be."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from apps.chat.models import Instance
from apps.tenancy.models import ApiToken, Membership, Tenant, User

BASE = {"tenant": "Clínica", "email": "Ana@Example.com", "password": "correct horse"}
NUMBER = {"instance": "main", "evolution_url": "http://evolution:8080/", "api_key": "key-1"}
KEYS = {"tenant_id", "user_id", "token", "instance_id", "webhook_url", "webhook_header", "webhook_secret"}


def run(**options: Any) -> Any:
    out = io.StringIO()
    call_command("chat_bootstrap", json=True, stdout=out, **options)
    text = out.getvalue()
    assert text.count("\n") == 1
    return json.loads(text)


@override_settings(PUBLIC_URL="https://chat.example")
def test_it_provisions_everything(db: None) -> None:
    made = run(**BASE, **NUMBER)

    assert made.keys() == KEYS
    instance = Instance.objects.get(pk=made["instance_id"])
    assert (instance.name, instance.base_url, instance.api_key) == ("main", "http://evolution:8080", "key-1")
    assert made["webhook_url"] == f"https://chat.example/api/chat/webhooks/evolution/{instance.pk}/"
    assert made["webhook_header"] == "X-Chat-Webhook-Secret"
    assert made["webhook_secret"] == instance.webhook_secret
    member = Membership.objects.get()
    assert (str(member.tenant_id), str(member.user_id), member.role) == (
        made["tenant_id"],
        made["user_id"],
        "admin",
    )


def test_the_token_works_and_so_does_the_password(db: None, client: Client) -> None:
    made = run(**BASE)

    assert (
        client.get(
            "/api/chat/conversations/", headers={"Authorization": f"Token {made['token']}"}
        ).status_code
        == 200
    )
    body = {"email": "ana@example.com", "password": BASE["password"]}
    answer = client.post("/api/auth/login/", body, content_type="application/json")
    assert answer.json()["token"] == made["token"]


def test_without_an_instance_its_fields_are_null(db: None) -> None:
    made = run(**BASE)

    assert made.keys() == KEYS
    assert [made[key] for key in ("instance_id", "webhook_url", "webhook_header", "webhook_secret")] == [
        None
    ] * 4


def test_running_it_again_changes_nothing(db: None) -> None:
    assert run(**BASE, **NUMBER) == run(**BASE, **NUMBER)
    assert (
        Tenant.objects.count(),
        User.objects.count(),
        Instance.objects.count(),
        ApiToken.objects.count(),
    ) == (1, 1, 1, 1)


def test_url_key_and_password_can_be_changed(db: None) -> None:
    first = run(**BASE, **NUMBER)
    Instance.objects.update(gate=Instance.Gate.FROZEN, gate_reason="unauthorized")

    again = run(
        **{**BASE, "password": "another horse"},
        **{**NUMBER, "evolution_url": "https://new", "api_key": "key-2"},
    )

    instance = Instance.objects.get()
    assert again == first
    assert (instance.base_url, instance.api_key, instance.gate) == (
        "https://new",
        "key-2",
        Instance.Gate.OPEN,
    )
    assert User.objects.get().check_password("another horse")


def test_what_is_not_given_is_kept(db: None) -> None:
    run(**BASE, **NUMBER)

    run(tenant=BASE["tenant"], email=BASE["email"], instance="main")

    instance = Instance.objects.get()
    assert (instance.base_url, instance.api_key) == ("http://evolution:8080", "key-1")
    assert User.objects.get().check_password(BASE["password"])


def test_a_second_tenant_may_have_a_number_of_the_same_name(db: None) -> None:
    first = run(**BASE, **NUMBER)
    second = run(**{**BASE, "tenant": "Outra", "email": "b@example.com"}, **NUMBER)

    assert first["instance_id"] != second["instance_id"]
    assert first["webhook_secret"] != second["webhook_secret"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tenant": " "}, "--tenant"),
        ({"tenant": "a" * 121}, "--tenant"),
        ({"tenant": "a\x00"}, "NUL"),
        ({"email": "nobody"}, "--email"),
        ({"email": ""}, "--email"),
        ({"password": None}, "--password"),
        ({"evolution_url": "evolution:8080"}, "--evolution-url"),
        ({"evolution_url": "ftp://evolution"}, "--evolution-url"),
        ({"evolution_url": "http://"}, "--evolution-url"),
        ({"evolution_url": "http://h:99999"}, "--evolution-url"),
        ({"evolution_url": "http://h/?a=b"}, "--evolution-url"),
        ({"evolution_url": "http://user:secret-word@h"}, "--api-key"),
        ({"evolution_url": None}, "--evolution-url"),
        ({"api_key": None}, "--api-key"),
        ({"instance": "a/b"}, "--instance"),
        ({"instance": "a" * 101}, "--instance"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_stored(db: None, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CommandError, match=says) as refused:
        run(**{**BASE, **NUMBER, **changes})

    assert "secret-word" not in str(refused.value)
    assert not Tenant.objects.exists()
    assert not User.objects.exists()
