"""Who is at the other end of a socket, and may they see this tenant?"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlparse
from uuid import UUID

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.security.websocket import OriginValidator
from django.conf import settings
from django.http.cookie import parse_cookie

from apps.chat.realtime import tickets
from apps.tenancy.models import Membership, User

TICKET_LONGEST = 200
Query = dict[str, list[str]]


class OriginCheck(OriginValidator):  # type: ignore[misc]
    """Lets pages of our own hosts in, and programs, which send no Origin; a browser always sends one."""

    def __init__(self) -> None:
        super().__init__(None, [*settings.ALLOWED_HOSTS, *settings.CSRF_TRUSTED_ORIGINS])

    def allows(self, scope: dict[str, Any]) -> bool:
        """Whether this connection comes from where it may."""
        origins = [value for name, value in scope.get("headers", []) if name == b"origin"]
        try:
            return not origins or bool(self.valid_origin(urlparse(origins[-1].decode("latin-1"))))
        except ValueError:
            return False


def take_query(scope: dict[str, Any]) -> Query:
    """The connection's query, which the scope loses: servers log it, and a ticket is a credential."""
    query = scope.get("query_string", b"").decode("latin-1")
    scope["query_string"] = b""
    return parse_qs(query)


async def user_of(scope: dict[str, Any], query: Query) -> User | None:
    """The user of the ticket in the query, or else of the session cookie.

    Raises:
        QueueAway: a ticket was given and Redis cannot be reached.
    """
    if "ticket" in query:
        return await _user_of_ticket(query["ticket"][0])
    return await _user_of_session(scope)


async def _user_of_ticket(ticket: str) -> User | None:
    user_id = await tickets.redeem(ticket[:TICKET_LONGEST])
    if user_id is None:
        return None
    active = User.objects.filter(pk=user_id, is_active=True).only("first_name", "last_name", "email")
    found: User | None = await database_sync_to_async(active.first, thread_sensitive=False)()
    return found


async def _user_of_session(scope: dict[str, Any]) -> User | None:
    """As Channels' own middlewares do it, which would stay on the stack, with a copy of the scope each."""
    cookies = [value.decode("latin-1") for name, value in scope.get("headers", []) if name == b"cookie"]
    key = parse_cookie("; ".join(cookies)).get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = await get_user({"session": store})
    return user if isinstance(user, User) and user.is_active else None


def canonical(tenant_id: str) -> str:
    """A tenant's id in the one spelling that names its channel; empty for what is no id."""
    try:
        return str(UUID(tenant_id))
    except ValueError:
        return ""


async def may_watch(user: User, tenant_id: str) -> bool:
    """Whether the user is a member of the tenant and active."""
    return bool(await members_among({user.pk}, tenant_id))


async def members_among(user_ids: Collection[UUID], tenant_id: str) -> set[UUID]:
    """Which of these users are (still) members of the tenant and active."""
    if not tenant_id:
        return set()
    members = Membership.objects.filter(user_id__in=user_ids, tenant_id=tenant_id, user__is_active=True)
    ids = members.values_list("user_id", flat=True)
    return set(await database_sync_to_async(list, thread_sensitive=False)(ids))
