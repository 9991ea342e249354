"""How every queue client talks to Redis: pooled, with deadlines, and without redis-py's own retries.

redis-py repeats a command whose answer was lost, which doubles an XADD and loses a popped item; retrying is ours to do.
A blocking read's socket timeout is longer than its BLOCK, and no socket waits for ever (half-open connections hang).
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 2.0
# What the network and a server in trouble raise; anything else is a defect of ours.
TROUBLE = (redis.RedisError, OSError)

_sync: dict[tuple[int, str], redis.Redis] = {}
_lock = threading.Lock()
_async: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, redis.asyncio.Redis]] = WeakKeyDictionary()


def sync_client(url: str) -> redis.Redis:
    """The process's pooled client for a URL. Answers are text; a call fails within seconds, never hangs."""
    key = (os.getpid(), url)
    with _lock:
        if key not in _sync:
            _sync[key] = redis.Redis.from_url(
                url,
                decode_responses=True,
                max_connections=50,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                health_check_interval=30,
                retry=Retry(NoBackoff(), 0),
            )
        return _sync[key]


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
        "max_connections": connections,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": answer_seconds,
        "socket_keepalive": True,
        "retry": AsyncRetry(NoBackoff(), 0),
    }
    return redis.asyncio.Redis.from_url(url, **options)


async def close_async_clients() -> None:
    """Close the running loop's clients: the last thing a process does with them."""
    for client in _async.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()
