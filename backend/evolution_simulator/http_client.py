"""A small keep-alive HTTP/1.1 client: what delivers webhooks and fetches media.

Webhooks outnumber sends several to one, so this is the simulator's hot path; a general client costs
more per request than everything else here together. Parsing is httptools', as in uvicorn.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

Origin = tuple[str, str, int]
Header = tuple[str, str]

_IDLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    body: bytes
    headers: dict[str, str]


class HttpClient:
    """Pools connections per origin. Errors are OSError, TimeoutError or ValueError (bad URL)."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[_Connection]] = {}

    async def request(
        self, method: str, url: str, headers: Iterable[Header], body: bytes = b"", timeout: float = 30.0
    ) -> Answer:
        """One request. An idle connection that turns out dead is a failure: nothing is resent."""
        origin, host, target = _split(url)
        async with asyncio.timeout(timeout):
            connection = self._take(origin) or await _open(origin)
            try:
                answer = await connection.send(_head(method, target, host, headers, len(body)) + body)
            except BaseException:
                connection.close()
                raise
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(origin, []).append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Drop every idle connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _take(self, origin: Origin) -> _Connection | None:
        connections = self._idle.get(origin)
        now = asyncio.get_running_loop().time()
        while connections:
            connection = connections.pop()
            if connection.alive and now - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.close()
        return None


class _Connection(asyncio.Protocol):
    """One connection carrying one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.alive = False
        self.reusable = False
        self.idle_since = 0.0
        self._waiter: asyncio.Future[Answer] | None = None
        self._start()

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._headers_done = False

    async def send(self, data: bytes) -> Answer:
        if self.transport is None or not self.alive:
            raise ConnectionError("connection is closed")
        self._start()
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return await self._waiter

    def close(self) -> None:
        self.alive = False
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self.alive = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if self._headers_done and "content-length" not in self._headers:
            self._finish()
        self._fail(exc or ConnectionResetError("the other side closed the connection"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._finish()

    def _finish(self) -> None:
        self.reusable = self.alive and bool(self._parser.should_keep_alive())
        if self._waiter is not None and not self._waiter.done():
            status = self._parser.get_status_code()
            self._waiter.set_result(Answer(status, b"".join(self._chunks), self._headers))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


async def _open(origin: Origin) -> _Connection:
    scheme, host, port = origin
    context = ssl.create_default_context() if scheme == "https" else None
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port, ssl=context)
    return connection


def _split(url: str) -> tuple[Origin, str, str]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an http(s) URL: {url[:80]}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return (parts.scheme, parts.hostname, port), parts.netloc.rpartition("@")[2], target


def _head(method: str, target: str, host: str, headers: Iterable[Header], length: int) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
