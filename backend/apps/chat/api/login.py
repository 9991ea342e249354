"""Logging in with email and password, and tickets for WebSockets."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.parsing import checked
from apps.chat.realtime import tickets
from apps.chat.web import throttle
from apps.tenancy.models import ApiToken, Membership, User


class LoginViews(ChatViews):
    """`/api/auth/login/`."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def get_authenticate_header(self, request: Request) -> str:
        """A wrong password is a 401, though nobody is authenticated here."""
        return "Token"

    @extend_schema(
        request=schemas.Login,
        responses={200: schemas.LoggedIn, 401: schemas.Problem, 429: schemas.Problem},
        auth=[],
    )
    def create(self, request: Request) -> Response:
        """Email and password for the user's token. Ten wrong tries are followed by a pause."""
        wanted = checked(schemas.Login, request.data)
        address, email = request.META.get("REMOTE_ADDR", ""), wanted["email"].strip().lower()
        if throttle.is_blocked(address, email):
            raise Throttled(throttle.WINDOW_SECONDS, "Too many attempts. Wait a few minutes.")
        user = authenticate(request, username=email, password=wanted["password"])
        if not isinstance(user, User):
            throttle.count_failure(address, email)
            raise AuthenticationFailed("Wrong email or password.")
        throttle.forget(address, email)
        return Response(_shape(user))


class TicketViews(ChatViews):
    """`ws-ticket/`."""

    @extend_schema(request=None, responses={200: schemas.Ticket, 503: schemas.Problem})
    def create(self, request: Request) -> Response:
        """A ticket for one WebSocket: `?ticket=…`, within a minute."""
        return Response({"ticket": tickets.issue(self.user.pk), "expires_in": tickets.SECONDS})


def _shape(user: User) -> dict[str, Any]:
    rows = Membership.objects.filter(user=user).select_related("tenant").order_by("tenant__name")
    return {
        "token": ApiToken.of(user),
        "user": {"id": str(user.pk), "name": user.get_full_name() or user.email, "email": user.email},
        "tenants": [{"id": str(row.tenant_id), "name": row.tenant.name, "role": row.role} for row in rows],
    }
