"""httpx's own transport, one connection for each call in flight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import cast

import httpx

from .exchange import place_of
from .idle import IdleStacks


class Plain(httpx.AsyncBaseTransport):
    """One httpcore pool of a single connection for each call in flight.

    httpcore looks at every connection of a pool twice for every request. Read in httpcore 1.0.9 (`_async/http11.py`,
    `_async/connection_pool.py`): an exception raised by the trace hook before the head or the body is written runs
    into `_response_closed`, which closes a connection whose request is not complete, so the pool never reuses it; and
    the pool sends again only on `ConnectionNotAvailable`, which is raised before anything is written.
    """

    def __init__(self, keepalive_expiry: float) -> None:
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._limits = httpx.Limits(max_connections=1, keepalive_expiry=keepalive_expiry)
        self._idle: IdleStacks[httpx.AsyncHTTPTransport] = IdleStacks(keepalive_expiry)
        self._open: set[httpx.AsyncHTTPTransport] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        place = place_of(request.url)
        connection = self._idle.take(place) or self._new()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._close(connection)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        give_back, drop = partial(self._give_back, place, connection), partial(self._close, connection)
        response.stream = _Lent(stream, give_back, drop)
        return response

    async def aclose(self) -> None:
        for connection in list(self._open):
            await self._close(connection)

    def _new(self) -> httpx.AsyncHTTPTransport:
        connection = httpx.AsyncHTTPTransport(
            verify=self._tls, http2=False, retries=0, trust_env=False, limits=self._limits
        )
        self._open.add(connection)
        return connection

    async def _give_back(self, place: str, connection: httpx.AsyncHTTPTransport) -> None:
        self._idle.put(place, connection)
        while expired := self._idle.pop_expired():
            await self._close(expired)

    async def _close(self, connection: httpx.AsyncHTTPTransport) -> None:
        self._open.discard(connection)
        await connection.aclose()


class _Lent(httpx.AsyncByteStream):
    """A response body that gives its connection back once closed, or drops it when closing went wrong."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        give_back: Callable[[], Awaitable[None]],
        drop: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._give_back = give_back
        self._drop = drop

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        except BaseException:
            await self._drop()
            raise
        await self._give_back()
