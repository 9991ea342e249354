"""Choosing a Redis database by parsing the URL, never by replacing text in it.

Replacing "/0" by "/2" does nothing when the URL names no database and corrupts a password that contains "/0".
Accepted: redis://, rediss://, unix:// (there the database goes into the query, as redis-py reads it). A
password with one of /?#@[] in it must be percent-encoded: unencoded it is refused, not read as a host.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("redis", "rediss", "unix")
SHAPE = "redis://[:password@]host:6379/0, rediss://… or unix:///path/to/socket"


def with_database(url: str, database: int) -> str:
    """`url` pointing at database number `database`, all else unchanged.

    Raises:
        ImproperlyConfigured: the URL is of no known shape. Its text is not repeated: it may hold a password.
    """
    parts = _split(url)
    if parts is None:
        raise ImproperlyConfigured(
            f"REDIS_URL must look like {SHAPE}; write /?#@[] in a password as %2F and so on."
        )
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "db"]
    if parts.scheme == "unix":
        # Not urlunsplit: it would drop the two slashes that redis-py looks for.
        return f"unix://{parts.netloc}{parts.path}?{urlencode([*query, ('db', str(database))])}"
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", urlencode(query), ""))


def address(url: str) -> str:
    """Where the URL points, without user, password or database: fit for a log line; "?" when it is no URL."""
    parts = _split(url)
    if parts is None:
        return "?"
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]


def _split(url: str) -> SplitResult | None:
    """The URL's parts; None when they do not name one server."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    if parts.scheme not in SCHEMES or parts.fragment or "@" in parts.path + parts.query:
        return None
    if parts.scheme == "unix":
        return parts if parts.path.strip("/") else None
    return parts if named and re.fullmatch(r"/?\d*", parts.path) else None
