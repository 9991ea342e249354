"""Our own HTTP/1.1 over asyncio, for calls that must know whether their bytes left.

It exists for speed: httpx's transport takes 1 ms of CPU for a call (and 4 ms with 32 in flight if they share a pool,
measured), of which most is h11. Here llhttp reads answers, and head and body leave in one write. It speaks what
Evolution needs: HTTP/1.1, TLS, bodies of known length, answers of any framing; no proxies, no HEAD, no upgrades.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, cast

import httptools
import httpx

from .exchange import BODY_LEAVES, HEAD_LEAVES, Trace, place_of
from .idle import IdleStacks

_HEAD_CAP: Final = 64 * 1024
# An answer is read ahead by so much; then its sender waits.
_AHEAD: Final = 1 << 20


class Native(httpx.AsyncBaseTransport):
    """HTTP/1.1 over asyncio, for calls that must know whether their bytes left."""

    def __init__(self, keepalive_expiry: float) -> None:
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._idle: IdleStacks[_Connection] = IdleStacks(keepalive_expiry)
        self._open: set[_Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        times = request.extensions.get("timeout") or {}
        place = place_of(request.url)
        head = _head_of(request)  # before connecting: what cannot be written is refused without a connection
        connection = await self._take(place) or await self._connect(request.url, times.get("connect"))
        try:
            await connection.send(request, head, times.get("write"))
            await connection.answer(times.get("read"))
        except BaseException:
            self._drop(connection)
            raise
        stream = _Body(connection, times.get("read"), partial(self._done, place, connection))
        return httpx.Response(connection.status, headers=connection.headers, stream=stream)

    async def aclose(self) -> None:
        for connection in list(self._open):
            self._drop(connection)

    async def _take(self, place: str) -> _Connection | None:
        while (connection := self._idle.take(place)) is not None:
            try:
                if await connection.still_lives():
                    return connection
            except BaseException:
                self._drop(connection)
                raise
            self._drop(connection)
        return None

    async def _connect(self, url: httpx.URL, within: float | None) -> _Connection:
        secure = url.scheme == "https"
        host, port = url.raw_host.decode("ascii").strip("[]"), url.port or (443 if secure else 80)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                _, connection = await loop.create_connection(
                    _Connection, host, port, ssl=self._tls if secure else None
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except (OSError, ssl.SSLError) as error:
            raise httpx.ConnectError(type(error).__name__) from error
        self._open.add(connection)
        return connection

    def _done(self, place: str, connection: _Connection) -> None:
        """An answer was read, or is no longer wanted."""
        if connection.rest():
            self._idle.put(place, connection)
        else:
            self._drop(connection)
        while (expired := self._idle.pop_expired()) is not None:
            self._drop(expired)

    def _drop(self, connection: _Connection) -> None:
        self._open.discard(connection)
        connection.abort()


def _head_of(request: httpx.Request) -> bytes:
    """Request line and headers. A value that would end its line is refused: it would be another header."""
    if "Transfer-Encoding" in request.headers:
        raise httpx.LocalProtocolError("a body must have a known length")
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % pair for pair in request.headers.raw]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header has a line end in it")
    return head + b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time: `send`, `answer`, then the body by `read`."""

    def __init__(self) -> None:
        self.lost = False
        self._error: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()
        self._busy = False

    def _begin(self) -> None:
        """Forget the last answer."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._parser = httptools.HttpResponseParser(self)
        self._has_head = self._complete = self._kept_alive = self._extra = self._sent = False
        self._parts: deque[bytes] = deque()
        self._ahead = 0
        self._paused = False

    # --- what the caller does ---------------------------------------------------------------------

    def rest(self) -> bool:
        """End the exchange; True when the connection is good for another."""
        self._busy = False
        whole = self._complete and self._sent and not self._parts and not self._extra and self._error is None
        return whole and not self.lost and self._kept_alive

    async def still_lives(self) -> bool:
        """False when the server has closed it, or said something unasked, up to now.

        After two turns the event loop has looked at every socket and told us. Looking at this one by ourselves is a
        system call that gives the interpreter to the other threads: under load, a sixth of all the loop's time.
        """
        for _ in range(2):
            await asyncio.sleep(0)
        return not self.lost and self._transport is not None and not self._transport.is_closing()

    async def send(self, request: httpx.Request, head: bytes, within: float | None) -> None:
        """Write the request. The trace may raise before the head or the body: then nothing is complete."""
        self._begin()
        self._busy = True
        trace: Trace | None = request.extensions.get("trace")
        if trace is not None:
            await trace(HEAD_LEAVES, {})
        if isinstance(request.stream, httpx.ByteStream):
            if trace is not None:
                await trace(BODY_LEAVES, {})
            await self._write(head + request.content, within)
        else:
            await self._write(head, within)
            if trace is not None:
                await trace(BODY_LEAVES, {})
            async for part in cast("httpx.AsyncByteStream", request.stream):
                if self._has_head:
                    return  # answered early: what is left of the body is not wanted
                await self._write(part, within)
        self._sent = True

    async def answer(self, within: float | None) -> None:
        """Wait for the answer's head."""
        while not self._has_head:
            await self._wait(within)
        if self._error is not None:
            raise self._error

    async def read(self, within: float | None) -> bytes | None:
        """The next part of the answer's body, None at its end."""
        while not self._parts:
            if self._complete:
                return None
            await self._wait(within)
        part = self._parts.popleft()
        self._ahead -= len(part)
        if self._paused and self._ahead < _AHEAD // 2 and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return part

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    async def _write(self, data: bytes, within: float | None) -> None:
        if self.lost or self._transport is None:
            raise httpx.WriteError("the connection is closed")
        self._transport.write(data)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(within):
                await self._writable.wait()
        except TimeoutError:
            raise httpx.WriteTimeout("the server takes nothing") from None
        if self.lost and not self._has_head:
            raise httpx.WriteError("the connection was closed")

    async def _wait(self, within: float | None) -> None:
        if self._error is not None:
            raise self._error
        if self.lost:
            raise httpx.RemoteProtocolError("the connection was closed before the answer ended")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                await self._waiter
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time") from None
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what asyncio tells -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if exc is not None and self._error is None and not self._complete:
            self._error = httpx.ReadError(type(exc).__name__)
        elif self._has_head and not self._complete and not self._is_framed():
            self._complete = True  # such a body ends with its connection
        self._writable.set()
        self._wake()

    def eof_received(self) -> None:
        self.lost = self.lost or not self._busy

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._complete:
            self._extra = True  # nobody asked: this connection is not to be trusted
            self.lost = self.lost or not self._busy
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._error = self._error or httpx.RemoteProtocolError(type(error).__name__)
        if self._ahead > _AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _is_framed(self) -> bool:
        names = {name.lower() for name, _ in self.headers}
        return b"content-length" in names or b"transfer-encoding" in names

    # --- what llhttp tells ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._extra = self._complete  # a second answer, which nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._complete:
            return
        if self._head_size > _HEAD_CAP:
            self._error = httpx.RemoteProtocolError("the answer's head is too long")
        else:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete:
            return
        if status >= 200:
            self.status, self._has_head = status, True
        else:
            self.headers = []  # 100, 102, 103: the answer is still to come

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._parts.append(data)
            self._ahead += len(data)

    def on_message_complete(self) -> None:
        if self._has_head and not self._complete:
            self._complete, self._kept_alive = True, bool(self._parser.should_keep_alive())


class _Body(httpx.AsyncByteStream):
    """The rest of an answer."""

    def __init__(self, connection: _Connection, within: float | None, done: Callable[[], None]) -> None:
        self._connection, self._within, self._done = connection, within, done
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._connection.read(self._within)) is not None:
            yield part

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._done()
