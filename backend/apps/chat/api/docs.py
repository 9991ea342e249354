"""The OpenAPI description and a page to browse it, served from here: no other site is asked for anything."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.templatetags.static import static
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny
from rest_framework.renderers import TemplateHTMLRenderer

_FILES = "drf_spectacular_sidecar/swagger-ui-dist/"


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Token …` as OpenAPI says it."""

    target_class = "apps.chat.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token <token>"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The pages' cookie."""

    target_class = "apps.chat.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class Schema(SpectacularAPIView):
    """OpenAPI 3, as YAML or, with `?format=json`, as JSON."""

    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []


class Docs(SpectacularSwaggerView):
    """Swagger UI from our own static files."""

    url_name = "schema"
    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []
    renderer_classes = [TemplateHTMLRenderer]

    @staticmethod
    def _swagger_ui_resource(filename: str) -> str:
        return static(_FILES + filename)

    @staticmethod
    def _swagger_ui_favicon() -> str:
        return static(_FILES + "favicon-32x32.png")
