"""Where every page and endpoint lives."""

from __future__ import annotations

from apps.chat.api import docs, health
from apps.chat.api.login import LoginViews
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("apps.chat.web.urls")),
    path("admin/", admin.site.urls),
    path("api/auth/login/", LoginViews.as_view({"post": "create"})),
    path("api/chat/", include("apps.chat.api.urls")),
    path("api/schema/", docs.Schema.as_view(), name="schema"),
    path("api/schema/docs/", docs.Docs.as_view(), name="schema-docs"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]

handler400 = "apps.chat.api.problems.bad_request"
handler404 = "apps.chat.api.problems.not_found"
handler500 = "apps.chat.api.problems.server_error"
