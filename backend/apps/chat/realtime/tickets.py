"""Single-use tickets that open a WebSocket without a long-lived token in its URL.

Kept in Redis DB 0 for a minute, under their hash, and taken with GETDEL: whoever reads Redis or a proxy's log
cannot use one, and nobody can use one twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from functools import lru_cache

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from apps.chat.errors import QueueAway

SECONDS = 60
_PREFIX = "chat:ws-ticket:"


def issue(user_id: object) -> str:
    """A ticket for this user, good for `SECONDS` and one connection.

    Raises:
        QueueAway: Redis cannot be reached.
    """
    ticket = secrets.token_urlsafe(32)
    try:
        _redis(settings.CACHE_REDIS_URL).set(_key(ticket), str(user_id), ex=SECONDS)
    except (RedisError, OSError) as problem:
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
        found = _redis(settings.CACHE_REDIS_URL).getdel(_key(ticket))
    except (RedisError, OSError) as problem:
        raise QueueAway("Tickets cannot be checked at the moment: Redis is away.") from problem
    return found.decode() if isinstance(found, bytes) else None


def _key(ticket: str) -> str:
    return _PREFIX + hashlib.sha256(ticket.encode()).hexdigest()


@lru_cache(maxsize=2)
def _redis(url: str) -> Redis:
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(url, retry=retry, socket_connect_timeout=0.5, socket_timeout=1)
