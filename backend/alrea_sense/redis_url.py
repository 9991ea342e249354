"""Choosing a Redis database by parsing the URL, never by replacing text in it.

Replacing "/0" by "/2" does nothing when the URL names no database and corrupts a password that contains "/0".
Accepted: redis://, rediss://, valkey(s)://, unix:// (a database goes into the query, as redis-py reads it).
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("redis", "rediss", "unix")
SHAPE = "redis://[:password@]host:6379/0, rediss://… or unix:///path/to/socket"


def with_database(url: str, database: int) -> str:
    """`url` pointing at database number `database`, all else unchanged.

    Raises:
        ImproperlyConfigured: the URL is not of a known shape. Its text is not repeated: it may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ImproperlyConfigured(f"REDIS_URL must look like {SHAPE}.")
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "db"]
    path = parts.path
    if parts.scheme == "unix":
        query.append(("db", str(database)))
    else:
        path = f"/{database}"
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(query), ""))


def address(url: str) -> str:
    """Where the URL points, without user, password or database: fit for a log line."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
