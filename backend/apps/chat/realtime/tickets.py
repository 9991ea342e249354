"""Single-use tickets that open a WebSocket without a long-lived token in its URL.

Kept in Redis DB 0 for a minute, under their hash, and taken with GETDEL: whoever reads Redis or a proxy's log
cannot use one, and nobody can use one twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets

from django.conf import settings

from apps.chat.errors import QueueAway
from apps.chat.redis_clients import TROUBLE, sync_client

SECONDS = 60
_PREFIX = "chat:ws-ticket:"


def issue(user_id: object) -> str:
    """A ticket for this user, good for `SECONDS` and one connection.

    Raises:
        QueueAway: Redis cannot be reached.
    """
    ticket = secrets.token_urlsafe(32)
    try:
        sync_client(settings.CACHE_REDIS_URL).set(_key(ticket), str(user_id), ex=SECONDS)
    except TROUBLE as problem:
        raise QueueAway("Tickets cannot be issued at the moment: Redis is away.") from problem
    return ticket


async def redeem(ticket: str) -> str | None:
    """The id of the user the ticket was issued to, once; None when it is unknown, used or too old.

    Raises:
        QueueAway: Redis cannot be reached.
    """
    return await asyncio.to_thread(_take, ticket)


def _take(ticket: str) -> str | None:
    try:
        found = sync_client(settings.CACHE_REDIS_URL).getdel(_key(ticket))
    except TROUBLE as problem:
        raise QueueAway("Tickets cannot be checked at the moment: Redis is away.") from problem
    return str(found) if found else None


def _key(ticket: str) -> str:
    return _PREFIX + hashlib.sha256(ticket.encode()).hexdigest()
