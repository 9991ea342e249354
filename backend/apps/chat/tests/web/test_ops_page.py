"""The operations page as HTTP sees it: who gets in, what its markup holds, and what its figures say to whom."""

from __future__ import annotations

import json
import re

import pytest
from django.core.cache import cache
from django.test import Client

from apps.chat.models import Instance
from apps.chat.tests.web.test_pages import markup
from apps.chat.web.modules import STATIC, modules_of
from apps.tenancy.models import Membership, Tenant, User

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _cache_in_memory(settings: object) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # type: ignore[attr-defined]
    cache.clear()


def member(client: Client, role: str = Membership.Role.AGENT, team: str = "Loja Aurora") -> User:
    user = User.objects.create_user("ana@example.com", "correct horse battery", first_name="Ana")
    Membership.objects.create(tenant=Tenant.objects.create(name=team), user=user, role=role)
    client.force_login(user)
    return user


def boot(response: object) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(markup(response).boot or "")
    return parsed


def test_it_sends_strangers_to_the_login_and_back(client: Client) -> None:
    response = client.get("/ops/")
    assert (response.status_code, response["Location"]) == (302, "/login/?next=/ops/")


def test_it_tells_a_user_without_a_team_what_to_do(client: Client) -> None:
    client.force_login(User.objects.create_user("ana@example.com", "correct horse battery"))
    response = client.get("/ops/", HTTP_ACCEPT_LANGUAGE="en")
    assert response.status_code == 403
    assert "Ask your administrator" in response.content.decode()


def test_a_member_gets_the_page_and_hears_of_no_other_team(client: Client) -> None:
    member(client)
    foreign = Tenant.objects.create(name="Alheia")
    response = client.get(f"/ops/?tenant={foreign.pk}")
    assert response.status_code == 200
    assert "Alheia" not in response.content.decode()
    assert boot(response)["tenant"] == boot(response)["tenants"][0]  # type: ignore[index]
    assert "no-store" in response["Cache-Control"]
    assert "csrftoken" in response.cookies


@pytest.mark.parametrize(("role", "admin"), [(Membership.Role.AGENT, False), (Membership.Role.ADMIN, True)])
def test_it_offers_the_administrators_buttons_to_administrators(
    client: Client, role: str, admin: bool
) -> None:
    member(client, role)
    assert boot(client.get("/ops/"))["admin"] is admin


def test_an_administrator_elsewhere_is_none_here(client: Client) -> None:
    member(client)
    other = User.objects.create_user("bia@example.com", "correct horse battery")
    Membership.objects.create(tenant=Tenant.objects.get(), user=other, role=Membership.Role.ADMIN)
    assert boot(client.get("/ops/"))["admin"] is False


def test_nothing_runs_inline(client: Client) -> None:
    member(client, team=""""'></script><script>alert(1)</script>""")
    response = client.get("/ops/")
    assert markup(response).inline == []
    assert "unsafe" not in response["Content-Security-Policy"]


def test_the_figures_name_nothing_of_another_team(client: Client) -> None:
    member(client)
    foreign = Tenant.objects.create(name="Alheia")
    number = Instance.objects.create(
        tenant=foreign, name="numero-alheio", base_url="http://127.0.0.1:1", gate=Instance.Gate.FROZEN
    )
    for path in ("reactions/queues/status/", "instances/", "dead-letters/"):
        text = client.get(f"/api/chat/{path}").content.decode()
        assert not re.search(f"Alheia|numero-alheio|{foreign.pk}|{number.pk}", text), path


def test_each_page_preloads_all_it_imports_and_nothing_of_the_other(client: Client) -> None:
    inbox, ops = modules_of("chat/js/main.js"), modules_of("chat/js/ops/main.js")
    assert not [name for name in inbox if "/ops/" in name]
    assert {"chat/js/ops/components/page.js", "chat/js/preact.js"} <= set(ops)
    known = {str(path.relative_to(STATIC)) for path in STATIC.glob("chat/js/**/*.js")}
    assert known <= {*inbox, *ops}, "a module that no page imports"
    member(client)
    page = client.get("/ops/").content.decode()
    assert [name for name in ops if f"/static/{name}" not in page] == []
