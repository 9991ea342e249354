"""Slows down password guessing: failed logins are counted per address and per account, in Django's cache.

Only failures count, so a whole office behind one address can sign in. Without a cache the login goes on working:
an agent locked out by an outage would be the worse harm.
"""

from __future__ import annotations

import hashlib
import logging

from django.core.cache import cache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

WINDOW_SECONDS = 300
LIMITS = {"pair": 10, "account": 50, "address": 100}


def _keys(address: str, email: str) -> dict[str, str]:
    parts = {"pair": f"{address} {email}", "account": email, "address": address}
    return {kind: f"login:{kind}:{hashlib.sha256(text.encode()).hexdigest()}" for kind, text in parts.items()}


def is_blocked(address: str, email: str) -> bool:
    """Whether this address or account has failed too often in the last `WINDOW_SECONDS`."""
    keys = _keys(address, email)
    try:
        counts = cache.get_many(list(keys.values()))
    except (RedisError, OSError):
        return False
    return any(counts.get(key, 0) >= LIMITS[kind] for kind, key in keys.items())


def count_failure(address: str, email: str) -> None:
    """Remembers one failed login. The window starts with the first failure."""
    try:
        for key in _keys(address, email).values():
            if not cache.add(key, 1, WINDOW_SECONDS):
                _increase(key)
    except (RedisError, OSError) as error:
        log.warning("login failure not counted", extra={"error": type(error).__name__})


def _increase(key: str) -> None:
    try:
        cache.incr(key)
    except ValueError:  # it ran out between the two calls
        cache.add(key, 1, WINDOW_SECONDS)


def forget(address: str, email: str) -> None:
    """A right password clears what was held against this pair."""
    try:
        cache.delete(_keys(address, email)["pair"])
    except (RedisError, OSError) as error:
        log.warning("login failures not cleared", extra={"error": type(error).__name__})
