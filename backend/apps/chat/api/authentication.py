"""Who is calling: an API token, or the session cookie of the pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import authentication, exceptions
from rest_framework.request import Request

from apps.chat import rows
from apps.tenancy.models import ApiToken, Membership, User

_CACHE = "_tenant_ids"
_USER_AND_TENANTS = """FROM tenancy_user
JOIN tenancy_apitoken t ON t.user_id = tenancy_user.id
LEFT JOIN tenancy_membership m ON m.user_id = tenancy_user.id
WHERE t.digest = %s"""


def tenants_of(user: Any) -> frozenset[UUID]:
    """The tenants a user belongs to; asked for once per request."""
    if not hasattr(user, _CACHE):
        found = Membership.objects.filter(user_id=user.pk).values_list("tenant_id", flat=True)
        setattr(user, _CACHE, frozenset(found))
    known: frozenset[UUID] = getattr(user, _CACHE)
    return known


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Token <token>`. User and tenants come with one query."""

    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        return self._user_of(token.strip()), token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword

    def _user_of(self, token: str) -> User:
        digest = ApiToken.digest_of(token)
        found = rows.select(User, _USER_AND_TENANTS, [digest], also="m.tenant_id")
        if not found:
            raise exceptions.AuthenticationFailed("This token is not known.")
        user = found[0][0]
        if not user.is_active:
            raise exceptions.AuthenticationFailed("This user is no longer active.")
        tenants = (tenant for _, (tenant,) in found if tenant is not None)
        setattr(user, _CACHE, frozenset(pk if isinstance(pk, UUID) else UUID(pk) for pk in tenants))
        return user


class SessionAuthentication(authentication.SessionAuthentication):
    """The pages' session cookie; writing needs the CSRF token, as Django's forms do."""
