"""Our own HTTP/1.1: every framing of an answer, what a server may do wrong, and what must not be written."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import uvloop

from apps.chat.evolution.native import Native

from .conftest import Connection, MisbehavingServer, Request


@pytest.fixture
async def transport() -> AsyncIterator[Native]:
    made = Native(4.0)
    yield made
    await made.aclose()


def request_to(server: MisbehavingServer, content: bytes = b"{}", **headers: str) -> httpx.Request:
    times = {"connect": 2.0, "read": 1.0, "write": 1.0}
    return httpx.Request(
        "POST", f"{server.url}/a", content=content, headers=headers, extensions={"timeout": times}
    )


async def call(transport: Native, server: MisbehavingServer, content: bytes = b"{}") -> httpx.Response:
    response = await transport.handle_async_request(request_to(server, content))
    await response.aread()
    return response


def says(server: MisbehavingServer, *parts: bytes, close: bool = False) -> None:
    """Answer every request with these pieces, each in a packet of its own."""

    async def handler(connection: Connection, _: Request) -> None:
        for part in parts:
            await connection.reply(part)
            await asyncio.sleep(0.005)
        if close:
            connection.close()

    server.handler = handler


@pytest.mark.parametrize(
    ("parts", "close", "reused"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], False, True),
        ([b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r", b"\nhel", b"lo"], False, True),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"], False, True),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], False, True),
        ([b"HTTP/1.1 102 P\r\nX: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], False, True),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"], False, False),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"], False, False),
        ([b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"], True, False),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n"], False, False),
    ],
)  # fmt: skip
async def test_every_framing(
    transport: Native, server: MisbehavingServer, parts: list[bytes], close: bool, reused: bool
) -> None:
    says(server, *parts, close=close)
    for _ in range(2):
        response = await call(transport, server)
        assert (response.status_code, response.content) == (200, b"hello")
        assert "x" not in response.headers
    assert len(server.connections) == (1 if reused else 2)


async def test_no_content_has_no_body(transport: Native, server: MisbehavingServer) -> None:
    says(server, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert [(await call(transport, server)).status_code for _ in range(2)] == [204, 204]
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none(transport: Native, server: MisbehavingServer, answer: bytes) -> None:
    says(server, answer)
    with pytest.raises(httpx.RemoteProtocolError):
        await call(transport, server)
    assert not transport._open


async def test_a_body_cut_short_is_an_error(transport: Native, server: MisbehavingServer) -> None:
    says(server, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", close=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await call(transport, server)


@pytest.mark.parametrize("value", ["a\r\nX: 1", "a\nX: 1", "a\rb", "a\0b"])
async def test_a_header_cannot_become_another(
    transport: Native, server: MisbehavingServer, value: str
) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(request_to(server, apikey=value))
    assert server.connections == []


async def test_a_long_answer_waits_until_it_is_read(transport: Native, server: MisbehavingServer) -> None:
    size = 24 << 20
    sent = 0

    async def handler(connection: Connection, _: Request) -> None:
        nonlocal sent
        await connection.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            await connection.reply(b"x" * (1 << 16))
            sent += 1 << 16

    server.handler = handler
    response = await transport.handle_async_request(request_to(server))
    await asyncio.sleep(0.3)
    assert sent < size
    assert len(await response.aread()) == size
    assert (await transport.handle_async_request(request_to(server))).status_code == 200


async def test_an_answer_before_the_end_of_a_streamed_body(
    transport: Native, server: MisbehavingServer
) -> None:
    refused = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        refused.set()
        await reader.read()
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 10
        await refused.wait()
        await asyncio.sleep(0.05)
        yield b"y" * 10

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    request = httpx.Request(
        "POST", f"http://127.0.0.1:{port}/", content=body(), headers={"Content-Length": "20"},
        extensions={"timeout": {"connect": 1.0, "read": 1.0, "write": 1.0}},
    )  # fmt: skip
    response = await transport.handle_async_request(request)
    await response.aread()
    assert response.status_code == 413
    assert not transport._open
    listener.close()


class OneByOne:
    """A server on a thread: each connection gets one answer, is told `last` when the test says so, and is closed."""

    def __init__(self, last: bytes) -> None:
        self._last = last
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.go, self.gone, self.served = threading.Event(), threading.Event(), 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.recv(4096)
                self.served += 1
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                self.go.wait(10)
                connection.sendall(self._last)
            self.gone.set()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_a_connection_that_ended_while_the_loop_was_busy_is_not_used(
    new_loop: Callable[[], asyncio.AbstractEventLoop], last: bytes
) -> None:
    """A request on it would be lost, and nobody could say whether it was read."""
    server = OneByOne(last)

    async def twice() -> None:
        transport = Native(4.0)
        request = httpx.Request("POST", f"{server.url}/a", content=b"{}")
        await (await transport.handle_async_request(request)).aread()
        server.go.set()
        assert server.gone.wait(5)  # the loop stands still: it has heard nothing of it
        await (await transport.handle_async_request(request)).aread()
        await transport.aclose()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(twice())
    assert server.served == 2
