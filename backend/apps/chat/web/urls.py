"""Addresses of the pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from apps.chat.web import ops, views

urlpatterns: list[URLPattern] = [
    path("", views.inbox, name="inbox"),
    path("ops/", ops.ops, name="ops"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", views.Logout.as_view(), name="logout"),
]
