"""The pages as HTTP sees them: who gets in, what the policy says, and that no script or style hides in the markup."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client

from apps.chat.web import throttle
from apps.tenancy.models import Membership, Tenant, User

pytestmark = [pytest.mark.django_db, pytest.mark.urls("apps.chat.tests.web.urls")]

EMAIL, PASSWORD = "ana@example.com", "correct horse battery"
CHAT = Path(__file__).resolve().parents[2]
VENDORED = CHAT / "static/chat/vendor/htm-preact-standalone-3.1.1.js"
VENDORED_SHA256 = "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"


@pytest.fixture(autouse=True)
def _cache_in_memory(settings: object) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # type: ignore[attr-defined]
    cache.clear()


@pytest.fixture
def user() -> User:
    user = User.objects.create_user(EMAIL, PASSWORD, first_name="Ana", last_name="Reis")
    Membership.objects.create(tenant=Tenant.objects.create(name="Loja Aurora"), user=user)
    return user


@pytest.fixture
def member(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def sign_in(client: Client, email: str = EMAIL, password: str = PASSWORD, **more: str) -> object:
    return client.post("/login/", {"username": email, "password": password, **more})


class Markup(HTMLParser):
    """Collects what a strict policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.boot: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and not names.get("src")):
            self.inline.append(tag)
        self.inline += [f"{tag}[{name}]" for name in names if name == "style" or name.startswith("on")]
        self.boot = names.get("data-boot", self.boot)


def markup(response: object) -> Markup:
    parsed = Markup()
    parsed.feed(response.content.decode())  # type: ignore[attr-defined]
    return parsed


def test_it_sends_strangers_to_the_login_and_back(client: Client, user: User) -> None:
    response = client.get("/")
    assert (response.status_code, response["Location"]) == (302, "/login/?next=/")
    response = sign_in(client, next="/")
    assert (response.status_code, response["Location"]) == (302, "/")


def test_it_gives_the_page_what_it_needs_to_start(member: Client, user: User) -> None:
    response = member.get("/")
    boot = json.loads(markup(response).boot or "")
    tenant = Tenant.objects.get()
    assert boot["tenant"] == {"id": str(tenant.pk), "name": "Loja Aurora"}
    assert boot["tenants"] == [boot["tenant"]]
    assert boot["user"] == {"id": str(user.pk), "name": "Ana Reis", "email": EMAIL}
    assert boot["max_text"] == 65_536
    assert "csrftoken" in response.cookies
    assert "no-store" in response["Cache-Control"]


def test_a_member_of_two_teams_chooses_and_sees_no_third(member: Client, user: User) -> None:
    second = Tenant.objects.create(name="Segunda")
    Membership.objects.create(tenant=second, user=user)
    foreign = Tenant.objects.create(name="Alheia")

    def shown(query: str) -> str:
        name: str = json.loads(markup(member.get(f"/{query}")).boot or "")["tenant"]["name"]
        return name

    assert shown("") == "Loja Aurora"
    assert shown(f"?tenant={second.pk}") == "Segunda"
    assert shown(f"?tenant={foreign.pk}") == "Loja Aurora"
    assert "Alheia" not in member.get("/").content.decode()


def test_it_survives_names_made_to_break_markup(member: Client, user: User) -> None:
    name = """"'></script><script>alert(1)</script>"""
    Tenant.objects.update(name=name)
    parsed = markup(member.get("/"))
    assert json.loads(parsed.boot or "")["tenant"]["name"] == name
    assert parsed.inline == []


def test_it_tells_a_user_without_a_team_what_to_do(client: Client) -> None:
    client.force_login(User.objects.create_user(EMAIL, PASSWORD))
    response = client.get("/", HTTP_ACCEPT_LANGUAGE="en")
    assert response.status_code == 403
    assert "Ask your administrator" in response.content.decode()
    assert markup(response).inline == []


@pytest.mark.parametrize("path", ["/", "/login/"])
def test_the_policy_allows_nothing_inline_and_the_markup_has_nothing(
    client: Client, user: User, path: str
) -> None:
    if path == "/":
        client.force_login(user)
    response = client.get(path)
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert markup(response).inline == []


def test_the_code_uses_nothing_that_runs_text_as_markup_or_script() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|dangerouslySet|style="
    )
    for path in (CHAT / "static/chat/js").rglob("*.js"):
        assert not forbidden.search(path.read_text()), path


def test_the_vendored_file_is_the_published_one() -> None:
    assert hashlib.sha256(VENDORED.read_bytes()).hexdigest() == VENDORED_SHA256


def test_files_of_the_page_exist() -> None:
    templates = "".join(path.read_text() for path in (CHAT / "templates/chat").glob("*.html"))
    for name in re.findall(r"{% static '([^']+)' %}", templates):
        assert (CHAT / "static" / name).is_file(), name


@pytest.mark.parametrize("email", [EMAIL, EMAIL.upper(), f"  {EMAIL} "])
def test_it_signs_in_by_email_however_it_is_typed(client: Client, user: User, email: str) -> None:
    assert sign_in(client, email).status_code == 302  # type: ignore[attr-defined]
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("email", "password"), [(EMAIL, "wrong"), ("nobody@example.com", PASSWORD), ("", ""), (EMAIL, "")]
)
def test_a_wrong_login_says_so_and_not_which_part(
    client: Client, user: User, email: str, password: str
) -> None:
    response = sign_in(client, email, password)
    page = response.content.decode()  # type: ignore[attr-defined]
    assert "E-mail ou senha incorretos" in page
    assert 'role="alert"' in page
    assert client.get("/").status_code == 302


def test_an_inactive_user_is_told_the_same(client: Client, user: User) -> None:
    User.objects.update(is_active=False)
    assert "E-mail ou senha incorretos" in sign_in(client).content.decode()  # type: ignore[attr-defined]


def test_it_does_not_follow_a_foreign_next(client: Client, user: User) -> None:
    assert sign_in(client, next="https://evil.example/")["Location"] == "/"  # type: ignore[index]


def test_it_wants_a_csrf_token(user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert sign_in(strict).status_code == 403  # type: ignore[attr-defined]
    token = strict.get("/login/").context["csrf_token"]
    assert sign_in(strict, csrfmiddlewaretoken=str(token)).status_code == 302  # type: ignore[attr-defined]


def test_guessing_is_slowed_down_even_with_the_right_password(client: Client, user: User) -> None:
    for _ in range(throttle.LIMITS["pair"]):
        sign_in(client, password="wrong")
    response = sign_in(client)
    assert "Muitas tentativas" in response.content.decode()  # type: ignore[attr-defined]
    assert client.get("/").status_code == 302
    elsewhere = client.post("/login/", {"username": EMAIL, "password": PASSWORD}, REMOTE_ADDR="10.0.0.9")
    assert elsewhere.status_code == 302


def test_a_right_password_clears_the_count(client: Client, user: User) -> None:
    for _ in range(throttle.LIMITS["pair"] - 1):
        sign_in(client, password="wrong")
    sign_in(client)
    client.post("/logout/")
    sign_in(client, password="wrong")
    assert sign_in(client).status_code == 302  # type: ignore[attr-defined]


def test_without_a_cache_people_still_get_in(client: Client, user: User, settings: object) -> None:
    settings.CACHES = {  # type: ignore[attr-defined]
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    assert sign_in(client, password="wrong").status_code == 200  # type: ignore[attr-defined]
    assert sign_in(client).status_code == 302  # type: ignore[attr-defined]


def test_a_signed_in_person_is_sent_on_from_the_login(member: Client) -> None:
    assert member.get("/login/")["Location"] == "/"


def test_logout_wants_a_post(member: Client) -> None:
    assert member.get("/logout/").status_code == 405
    assert member.get("/").status_code == 200
    assert member.post("/logout/")["Location"] == "/login/"
    assert member.get("/").status_code == 302


def test_the_login_speaks_two_languages_and_remembers(client: Client) -> None:
    assert 'lang="pt-BR"' in client.get("/login/").content.decode()
    chosen = client.get("/login/?lang=en").content.decode()
    assert 'lang="en"' in chosen
    assert "Sign in" in chosen
    assert "Sign in" in client.get("/login/").content.decode()
    assert "Entrar" in client.get("/login/?lang=pt").content.decode()
    assert client.get("/login/?lang=xx").status_code == 200


def test_the_chosen_theme_is_in_the_markup_before_any_script(client: Client) -> None:
    client.cookies["theme"] = "dark"
    assert 'data-theme="dark"' in client.get("/login/").content.decode()
    client.cookies["theme"] = '"><script>'
    page = client.get("/login/")
    assert "data-theme" not in page.content.decode()
    assert markup(page).inline == []


@pytest.mark.parametrize(("embedded", "shown"), [(True, True), (False, False)])
def test_the_demo_login_is_shown_only_on_the_embedded_database(
    client: Client, settings: object, embedded: bool, shown: bool
) -> None:
    settings.EMBEDDED = embedded  # type: ignore[attr-defined]
    settings.DEMO_LOGIN = {"email": "demo@example.com", "password": "demo-password"}  # type: ignore[attr-defined]
    assert ("demo-password" in client.get("/login/").content.decode()) is shown


def test_no_demo_login_without_the_setting(client: Client) -> None:
    assert "demo-hint" not in client.get("/login/").content.decode()
