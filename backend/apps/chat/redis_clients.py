"""How every queue client talks to Redis: pooled, with deadlines, and without redis-py's own retries.

redis-py repeats a command whose answer was lost, which doubles an XADD and loses a popped item; retrying is ours to do.
A blocking read's socket timeout is longer than its BLOCK, and no socket waits for ever (half-open connections hang).

With a sentinel URL each new connection first asks the sentinels for the master. A failover breaks the old
connections, or answers READONLY, which redis-py takes for the same: one call fails, the next finds the new master.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import threading
from contextlib import suppress
from typing import Any, Self, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from alrea_sense.redis_url import Sentinels, address, sentinels
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 2.0
# What the network and a server in trouble raise; anything else is a defect of ours.
TROUBLE = (redis.RedisError, OSError)

_sync: dict[tuple[int, str], redis.Redis] = {}
_lock = threading.Lock()
_async: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, redis.asyncio.Redis]] = WeakKeyDictionary()
_said_to_evict: set[str] = set()


def sync_client(url: str) -> redis.Redis:
    """The process's pooled client for a URL. Answers are text; a call fails within seconds, never hangs."""
    key = (os.getpid(), url)
    with _lock:
        if key not in _sync:
            _sync[key] = _make_sync(url)
        return _sync[key]


def _make_sync(url: str) -> redis.Redis:
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",  # bytes that are no text are garbage for the loop to bury, not its end
        "max_connections": 50,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "health_check_interval": 30,
        "retry": Retry(NoBackoff(), 0),
    }
    if sentinels(url):
        return redis.Redis.from_pool(SentinelPool.from_url(url, **options))
    return redis.Redis.from_url(url, **options)


def async_client(url: str) -> redis.asyncio.Redis:
    """The running loop's pooled client for a URL."""
    clients = _async.setdefault(asyncio.get_running_loop(), {})
    if url not in clients:
        clients[url] = _make_async(url, ANSWER_SECONDS, 50)
    return clients[url]


def blocking_client(url: str, block_seconds: float) -> redis.asyncio.Redis:
    """A client of its own for a loop that blocks on reads of up to `block_seconds`. Close it when done."""
    return _make_async(url, block_seconds + 8.0, 2)


def _make_async(url: str, answer_seconds: float, connections: int) -> redis.asyncio.Redis:
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",  # bytes that are no text are garbage for the loop to bury, not its end
        "max_connections": connections,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": answer_seconds,
        "socket_keepalive": True,
        "retry": AsyncRetry(NoBackoff(), 0),
    }
    if sentinels(url):
        return redis.asyncio.Redis.from_pool(AsyncSentinelPool.from_url(url, **options))
    return redis.asyncio.Redis.from_url(url, **options)


async def close_async_clients() -> None:
    """Close the running loop's clients: the last thing a process does with them."""
    for client in _async.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()


async def say_if_it_evicts(url: str) -> None:
    """A warning, once a process, when this server may throw away what waits in it; none while it does not answer."""
    policy = "noeviction"
    with suppress(*TROUBLE):
        policy = str((await async_client(url).info("memory")).get("maxmemory_policy", policy))
    where = address(url)
    if policy == "noeviction" or where in _said_to_evict:
        return
    _said_to_evict.add(where)
    logger.warning(
        "Redis may evict what waits in it: set its maxmemory-policy to noeviction",
        extra={"address": where, "policy": policy},
    )


# --- Sentinel -------------------------------------------------------------------------------------


class _Sentinels(redis.sentinel.Sentinel):
    """redis-py's, except that callers at the same time do not swap a sentinel out of the list for good."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Address and port of the service's master; MasterNotFoundError when no sentinel knows."""
        mine = copy.copy(self)
        mine.sentinels = list(self.sentinels)
        found = redis.sentinel.Sentinel.discover_master(mine, service_name)  # type: ignore[no-untyped-call]
        self.sentinels = mine.sentinels
        return cast(tuple[str, int], found)


class _AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """`_Sentinels` for coroutines."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Address and port of the service's master; MasterNotFoundError when no sentinel knows."""
        mine = copy.copy(self)
        mine.sentinels = list(self.sentinels)
        found = await redis.asyncio.sentinel.Sentinel.discover_master(mine, service_name)
        self.sentinels = mine.sentinels
        return cast(tuple[str, int], found)


class SentinelPool(redis.sentinel.SentinelConnectionPool):
    """Connections to a service's master, made from a sentinel URL; Django's cache names it as its pool class."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """A pool with redis-py's options, which those in the URL override; no retries unless they say so."""
        found = _read(url)
        retry = Retry(NoBackoff(), 0)
        asking = _asking(retry) | found.sentinel
        manager = _Sentinels(found.hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        return cls(found.service, manager, **{"retry": retry, **options, **found.server})


class AsyncSentinelPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """`SentinelPool` for coroutines; closes its connections to the sentinels too."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """A pool with redis-py's options, which those in the URL override; no retries unless they say so."""
        found = _read(url)
        retry = AsyncRetry(NoBackoff(), 0)
        asking = _asking(retry) | found.sentinel
        manager = _AsyncSentinels(found.hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        return cls(found.service, manager, **{"retry": retry, **options, **found.server})

    async def aclose(self) -> None:
        """Close all connections, those to the sentinels included."""
        await super().aclose()
        await self.sentinel_manager.aclose()


def _read(url: str) -> Sentinels:
    found = sentinels(url)
    if found is None:
        raise ValueError("not the URL of sentinels")  # its text may hold a password
    return found


def _asking(retry: Any) -> dict[str, Any]:
    """How a sentinel is asked: it answers at once or counts as gone, for the next one may know."""
    return {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS, "retry": retry}
