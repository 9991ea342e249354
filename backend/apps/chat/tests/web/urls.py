"""The pages alone, where they live in production: the tests do not depend on the rest of the project's addresses."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("apps.chat.web.urls"))]
