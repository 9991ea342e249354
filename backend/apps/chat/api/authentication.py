"""Who is calling: an API token, or the session cookie of the pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import authentication, exceptions
from rest_framework.request import Request

from apps.tenancy.models import ApiToken, Membership, User

_CACHE = "_tenant_ids"


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
        found = list(Membership.objects.filter(user__api_token__digest=digest).select_related("user"))
        user = found[0].user if found else self._without_tenant(digest)
        if not user.is_active:
            raise exceptions.AuthenticationFailed("This user is no longer active.")
        setattr(user, _CACHE, frozenset(row.tenant_id for row in found))
        return user

    @staticmethod
    def _without_tenant(digest: str) -> User:
        token = ApiToken.objects.filter(digest=digest).select_related("user").defer("sealed").first()
        if token is None:
            raise exceptions.AuthenticationFailed("This token is not known.")
        return token.user


class SessionAuthentication(authentication.SessionAuthentication):
    """The pages' session cookie; writing needs the CSRF token, as Django's forms do."""
