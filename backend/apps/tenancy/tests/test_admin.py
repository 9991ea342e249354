"""Django's admin: opens for operators, takes credentials, and never shows one."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client

from apps.chat.models import Attempt, Delivery, Instance, Worker
from apps.chat.tests.api.world import Team, make_team
from apps.tenancy.models import User

PAGES = sorted(f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry)


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Ana")


@pytest.fixture
def operator(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op@example.com", "x"))
    return client


@pytest.mark.parametrize("page", PAGES)
def test_every_list_opens(team: Team, operator: Client, page: str) -> None:
    team.message("segredo")
    Worker.objects.create(name="w")

    response = operator.get(f"/admin/{page}/")

    assert response.status_code == 200
    assert "the-evolution-key" not in response.content.decode()


def test_an_instance_shows_no_credential(team: Team, operator: Client) -> None:
    page = operator.get(f"/admin/chat/instance/{team.instance.pk}/change/").content.decode()

    for secret in ("the-evolution-key", "the-webhook-secret"):
        assert secret not in page


def test_a_new_key_is_written_and_an_empty_one_keeps_the_old(team: Team, operator: Client) -> None:
    path = f"/admin/chat/instance/{team.instance.pk}/change/"
    form = {"tenant": str(team.tenant.pk), "name": "Ana", "base_url": "http://e", "gate": "0"}

    assert operator.post(path, {**form, "new_api_key": ""}).status_code == 302
    assert Instance.objects.get().api_key == "the-evolution-key"
    assert operator.post(path, {**form, "new_api_key": "another"}).status_code == 302
    assert Instance.objects.get().api_key == "another"
    assert Instance.objects.get().webhook_secret == "the-webhook-secret"
    assert operator.post(path, {**form, "new_webhook_secret": "on"}).status_code == 302
    assert Instance.objects.get().webhook_secret != "the-webhook-secret"


def test_an_instance_can_be_added(team: Team, operator: Client) -> None:
    form = {
        "tenant": str(team.tenant.pk),
        "name": "two",
        "base_url": "http://e",
        "gate": "0",
        "new_api_key": "k",
    }

    assert operator.post("/admin/chat/instance/add/", form).status_code == 302

    added = Instance.objects.get(name="two")
    assert (added.api_key, len(added.webhook_secret) > 30) == ("k", True)


def test_a_message_shows_no_text_and_a_delivery_cannot_be_changed(team: Team, operator: Client) -> None:
    message = team.message("segredo")
    delivery = Delivery.objects.get()

    assert "segredo" not in operator.get(f"/admin/chat/message/{message.pk}/change/").content.decode()
    assert operator.post(f"/admin/chat/delivery/{delivery.pk}/change/", {"state": "10"}).status_code == 403
    assert operator.get(f"/admin/chat/delivery/{delivery.pk}/delete/").status_code == 403
    assert not Attempt.objects.exists()


def test_a_token_is_never_shown(team: Team, operator: Client) -> None:
    page = operator.get(f"/admin/tenancy/apitoken/{team.user.pk}/change/").content.decode()

    assert team.token not in page


def test_people_can_be_added(operator: Client) -> None:
    form = {
        "email": "new@example.com",
        "usable_password": "true",
        "password1": "correct horse battery",
        "password2": "correct horse battery",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }

    response = operator.post("/admin/tenancy/user/add/", form)

    assert response.status_code == 302, response.content.decode()[:2000]
    assert User.objects.get(email="new@example.com").check_password("correct horse battery")


def test_agents_do_not_get_in(team: Team, client: Client) -> None:
    client.force_login(team.user)

    assert client.get("/admin/").status_code == 302
