from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from testing import servers

from apps.chat.realtime import broadcast
from apps.chat.redis_clients import close_async_clients
from apps.chat.tests.api.world import Team, make_team
from apps.chat.tests.realtime.client import Socket

Connect = Callable[..., Awaitable[Socket]]


@pytest.fixture
def team(transactional_db: None, redis_url: str) -> Team:
    return make_team("Ana")


@pytest.fixture
def others(transactional_db: None) -> Team:
    return make_team("Bruno")


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    """What other tests published is out before this one looks, and this one's before the next."""
    assert broadcast.flush(5)
    yield
    broadcast.flush(5)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`await connect(team)` opens a socket as the team's user; all are closed at the end."""
    sockets: list[Socket] = []

    async def open_socket(team: Team, **options: Any) -> Socket:
        socket = Socket(team, **options)
        sockets.append(socket)
        await socket.open()
        return socket

    yield open_socket
    for socket in sockets:
        await socket.close()
    await close_async_clients()


@pytest.fixture
def own_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.RedisServer]:
    """A Redis for realtime alone, to be stopped and flushed."""
    with servers.valkey() as server:
        monkeypatch.setattr(settings, "CHANNELS_REDIS_URL", f"{server.url[:-1]}1")
        yield server
        broadcast.flush(5)
