"""Choosing a Redis database by parsing the URL, never by replacing text in it.

Replacing "/0" by "/2" does nothing when the URL names no database and corrupts a password that contains "/0".
Accepted: redis://, rediss://, unix:// (there the database goes into the query, as redis-py reads it) and

    sentinel://[[user]:password@]host[:26379][,host2…]/service[/database][?sentinel_password=…]

which asks the sentinels where the service's master is. User and password are the master's; those of the
sentinels are `sentinel_username` and `sentinel_password`. sentinels:// speaks TLS to both. Further query
parameters are redis-py's, as in the other URLs.

A password with one of /?#@[] in it must be percent-encoded: unencoded it is refused, not read as a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import parse_url

SCHEMES = ("redis", "rediss", "unix")
CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
SHAPE = (
    "redis://[:password@]host:6379/0, rediss://…, unix:///path/to/socket "
    "or sentinel://[:password@]host:26379,host2:26379/service"
)
SENTINEL_PORT = 26379

# Python's urlsplit knows no lists of hosts. Names of services: what Sentinel itself accepts.
_SENTINEL = re.compile(
    r"(?P<scheme>sentinels?)://((?P<username>[^@/?#\[\],:]*)(:(?P<password>[^@/?#\[\]]*))?@)?(?P<hosts>[^@/?#]+)"
    r"/(?P<service>[A-Za-z0-9._-]+)(/(?P<database>\d*))?(\?(?P<query>[^#@]*))?"
)


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A sentinel URL, read.

    Attributes:
        hosts: address and port of each sentinel.
        service: the name under which the sentinels know the master.
        server: redis-py's arguments for a connection to the master, its credentials among them.
        sentinel: the same for a connection to a sentinel.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    server: dict[str, Any] = field(repr=False)
    sentinel: dict[str, Any] = field(repr=False)


def with_database(url: str, database: int) -> str:
    """`url` pointing at database number `database`, all else unchanged.

    Raises:
        ImproperlyConfigured: the URL is of no known shape. Its text is not repeated: it may hold a password.
    """
    checked(url, "REDIS_URL")
    found = _SENTINEL.fullmatch(url)
    if found:
        head = url[: found.end("service")]
        query = _without_database(found["query"] or "")
        return f"{head}/{database}" + (f"?{urlencode(query)}" if query else "")
    parts = urlsplit(url)
    query = _without_database(parts.query)
    if parts.scheme == "unix":
        # Not urlunsplit: it would drop the two slashes that redis-py looks for.
        return f"unix://{parts.netloc}{parts.path}?{urlencode([*query, ('db', str(database))])}"
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", urlencode(query), ""))


def checked(url: str, name: str) -> str:
    """`url` itself, the value of the variable `name`.

    Raises:
        ImproperlyConfigured: the URL is of no known shape, or a cluster's. Its text is not repeated: it may hold a
            password.
    """
    if url.partition("://")[0] in CLUSTER_SCHEMES:
        raise ImproperlyConfigured(
            f"{name} names a Redis Cluster, which is not supported: the cache, the figures of the streams and the "
            "events for browsers need one server. Use redis:// or, for failover, sentinel://."
        )
    if _split(url) is None and sentinels(url) is None:
        raise ImproperlyConfigured(
            f"{name} must look like {SHAPE}; write /?#@[] in a password as %2F and so on."
        )
    return url


def address(url: str) -> str:
    """Where the URL points, without user, password or database: fit for a log line; "?" when it is no URL."""
    found = _SENTINEL.fullmatch(url)
    if found and _hosts(found["hosts"]):
        return f"{found['hosts']}/{found['service']}"
    parts = _split(url)
    if parts is None:
        return "?"
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]


def sentinels(url: str) -> Sentinels | None:
    """What a sentinel URL says; None when it is none, or not well formed."""
    found = _SENTINEL.fullmatch(url)
    hosts = _hosts(found["hosts"]) if found else ()
    if not found or not hosts:
        return None
    query = dict(parse_qsl(found["query"] or ""))
    account = {
        "username": query.pop("sentinel_username", None),
        "password": query.pop("sentinel_password", None),
    }
    try:
        options = parse_url(f"redis://-/{found['database'] or 0}?{urlencode(query)}")  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    del options["host"]
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if found["scheme"] == "sentinels":
        options["ssl"] = tls["ssl"] = True
    options |= {name: unquote(found[name]) for name in ("username", "password") if found[name]}
    sentinel = tls | {name: value for name, value in account.items() if value}
    return Sentinels(hosts, found["service"], options, sentinel)


def channel_host(url: str) -> str | dict[str, Any]:
    """The URL as an entry of `hosts` in CHANNEL_LAYERS."""
    found = sentinels(url)
    if found is None:
        return url
    return {
        "master_name": found.service,
        "sentinels": list(found.hosts),
        "sentinel_kwargs": {"socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0), **found.sentinel},
        **found.server,
    }


def _hosts(text: str) -> tuple[tuple[str, int], ...]:
    """The hosts of a list with commas; empty when one of them is none."""
    hosts = []
    for part in text.split(","):
        try:
            one = urlsplit(f"//{part}")
            host, port = one.hostname, one.port
        except ValueError:
            return ()
        if not host or port == 0 or one.netloc.endswith(":"):
            return ()
        hosts.append((host, port or SENTINEL_PORT))
    return tuple(hosts)


def _without_database(query: str) -> list[tuple[str, str]]:
    return [(key, value) for key, value in parse_qsl(query) if key != "db"]


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
    named = named and "," not in parts.netloc.rpartition("@")[2]
    return parts if named and re.fullmatch(r"/?\d*", parts.path) else None
