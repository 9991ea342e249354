"""What all endpoints of the chat share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from apps.chat.api.authentication import tenants_of
from apps.chat.api.parsing import StrictJSONParser
from apps.tenancy.models import User


class ChatViews(ViewSet):
    """Views for members. Errors speak English to programs, whatever the browser prefers."""

    parser_classes = [StrictJSONParser]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with translation.override("en"):
            return super().dispatch(request, *args, **kwargs)

    @property
    def tenants(self) -> Collection[UUID]:
        """The tenants the caller sees."""
        return tenants_of(self.request.user)

    @property
    def user(self) -> User:
        assert isinstance(self.request.user, User)  # the permission saw to it
        return self.request.user


def text_param(request: Request, name: str) -> str:
    """A query parameter, stripped; NUL is refused here, before PostgreSQL does."""
    value = request.query_params.get(name, "").strip()
    if "\x00" in value:
        raise ValidationError({name: "Null characters are not allowed."})
    return value


def id_param(request: Request, name: str) -> UUID | None:
    """A query parameter that is an id, None when it is not given."""
    value = text_param(request, name)
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise ValidationError({name: "This is no id."}) from None


def choice_param(request: Request, name: str, choices: Collection[str]) -> str:
    """A query parameter that is one of some words, empty when it is not given."""
    value = text_param(request, name)
    if value and value not in choices:
        raise ValidationError({name: f"One of: {', '.join(choices)}."})
    return value
