"""The inbox page, login and logout. They only parse HTTP and hand the page what it needs to start."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie

from apps.chat.web.forms import LoginForm
from apps.chat.web.modules import modules_of
from apps.chat.web.texts import LANGUAGES, TEXTS, language_key
from apps.tenancy.models import Tenant, User

THEME_COOKIE = "theme"
THEMES = ("light", "dark")
COOKIE_SECONDS = 365 * 24 * 3600


def page_context(request: HttpRequest) -> dict[str, Any]:
    """What every page's frame needs: texts in the reader's language, and the theme they chose (or "")."""
    key = language_key(get_language() or settings.LANGUAGE_CODE)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {"t": TEXTS[key], "lang": key, "theme": theme if theme in THEMES else ""}


def page_modules() -> list[str]:
    """The inbox's modules as static names."""
    return modules_of("chat/js/main.js")


def boot_data(user: User, tenants: list[Tenant], tenant: Tenant, lang: str) -> dict[str, Any]:
    """What the inbox needs before its first request; docs/decisions.md says why it travels as a data attribute."""
    name = user.get_full_name() or user.email
    return {
        "tenant": _named(tenant),
        "tenants": [_named(other) for other in tenants],
        "user": {"id": str(user.id), "name": name, "email": user.email},
        "lang": lang,
        "max_text": settings.CHAT_MAX_TEXT,
        "max_file": settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES,
        "cookie_secure": settings.SESSION_COOKIE_SECURE,
    }


def _named(tenant: Tenant) -> dict[str, str]:
    return {"id": str(tenant.id), "name": tenant.name}


@never_cache
@login_required
@ensure_csrf_cookie
def inbox(request: HttpRequest) -> HttpResponse:
    """The inbox of `?tenant=`, else of the user's first team; a sentence for a user who is in none yet."""
    assert isinstance(request.user, User)  # login_required saw to it
    context = page_context(request)
    tenants = list(Tenant.objects.filter(memberships__user=request.user).order_by("name"))
    if not tenants:
        return render(request, "chat/no_team.html", context, status=403)
    wanted = request.GET.get("tenant", "")
    tenant = next((one for one in tenants if str(one.id) == wanted), tenants[0])
    context["boot"] = json.dumps(boot_data(request.user, tenants, tenant, context["lang"]))
    context["modules"] = page_modules()
    return render(request, "chat/inbox.html", context)


@method_decorator(never_cache, name="dispatch")
class Login(LoginView):
    """Email and password, with or without JavaScript. `?lang=pt|en` changes the language and remembers it."""

    template_name = "chat/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().get(request, *args, **kwargs)
        chosen = LANGUAGES.get(request.GET.get("lang", ""))
        if chosen:
            response.set_cookie(
                settings.LANGUAGE_COOKIE_NAME,
                chosen[0],
                max_age=COOKIE_SECONDS,
                secure=settings.SESSION_COOKIE_SECURE,
                samesite="Lax",
            )
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs) | page_context(self.request)
        lang = self.request.GET.get("lang", "")
        if lang in LANGUAGES:
            context |= {"lang": lang, "t": TEXTS[lang]}
        other = "en" if context["lang"] == "pt" else "pt"
        return context | {
            "error": self._error(kwargs.get("form"), context["t"]),
            "other_lang": other,
            "other_lang_name": LANGUAGES[other][1],
            "demo": getattr(settings, "DEMO_LOGIN", None) if settings.EMBEDDED else None,
        }

    @staticmethod
    def _error(form: LoginForm | None, texts: dict[str, str]) -> str:
        if form is None or not form.errors:
            return ""
        blocked = form.has_error("__all__", code="wait")
        return texts["login_wait"] if blocked else texts["login_wrong"]


@method_decorator(never_cache, name="dispatch")
class Logout(LogoutView):
    """POST only: a link on another site must not sign anyone out."""

    http_method_names = ["post", "options"]
    next_page = settings.LOGIN_URL
