"""Who is at the other end of a socket, and may they see this tenant?"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.db import database_sync_to_async
from channels.security.websocket import OriginValidator
from django.conf import settings

from apps.chat.realtime import tickets
from apps.tenancy.models import Membership, User

TICKET_LONGEST = 200


class OriginCheck(OriginValidator):  # type: ignore[misc]
    """Lets pages of our own hosts in, and programs, which send no Origin; a browser always sends one."""

    def __init__(self, application: Any) -> None:
        super().__init__(application, [*settings.ALLOWED_HOSTS, *settings.CSRF_TRUSTED_ORIGINS])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if any(name == b"origin" for name, _ in scope.get("headers", [])):
            return await super().__call__(scope, receive, send)
        return await self.application(scope, receive, send)


async def user_of(scope: dict[str, Any]) -> User | None:
    """The user of the ticket in the query, or else of the session cookie.

    Raises:
        QueueAway: a ticket was given and Redis cannot be reached.
    """
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    if "ticket" in query:
        return await _user_of_ticket(query["ticket"][0])
    user = scope.get("user")
    return user if user is not None and user.is_authenticated and user.is_active else None


async def _user_of_ticket(ticket: str) -> User | None:
    user_id = await tickets.redeem(ticket[:TICKET_LONGEST])
    if user_id is None:
        return None
    active = User.objects.filter(pk=user_id, is_active=True)
    found: User | None = await database_sync_to_async(active.first, thread_sensitive=False)()
    return found


def canonical(tenant_id: str) -> str:
    """A tenant's id in the one spelling that names its channel; empty for what is no id."""
    try:
        return str(UUID(tenant_id))
    except ValueError:
        return ""


async def may_watch(user: User, tenant_id: str) -> bool:
    """Whether the user is (still) a member of the tenant and active."""
    if not tenant_id:
        return False
    members = Membership.objects.filter(user_id=user.pk, tenant_id=tenant_id, user__is_active=True)
    return bool(await database_sync_to_async(members.exists, thread_sensitive=False)())
