"""Captures of a real Evolution 2.3.6, and a TCP server that misbehaves on purpose."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CAPTURES = Path(__file__).parents[1] / "captures"


def load_capture(kind: str, name: str) -> dict[str, Any]:
    """Return one recorded exchange; kind is http or webhooks."""
    captured: dict[str, Any] = json.loads((CAPTURES / kind / f"{name}.json").read_text())
    return captured


def answer(status: int, body: object, *headers: str) -> bytes:
    """Return a complete HTTP/1.1 answer with a JSON body."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(payload)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + payload


ACCEPTED = answer(201, load_capture("http", "stub_sendText")["response"]["body"])


@dataclass
class Request:
    """One complete request the server received."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """One accepted connection: every byte that came, and how to misbehave."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytes = b""
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reply(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[[Connection, Request], Awaitable[None]]


async def hang(connection: Connection, _: Request) -> None:
    """Never answer; end when the other side gives up."""
    await _collect(connection, connection.reader.readexactly(1))


async def accept(connection: Connection, _: Request) -> None:
    await connection.reply(ACCEPTED)


class MisbehavingServer:
    """Answers each complete request with `handler`; records requests and connections."""

    def __init__(self) -> None:
        self.handler: Handler = accept
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(reader, writer)
        self.connections.append(connection)
        try:
            while True:
                request = await self._read(connection)
                self.requests.append(request)
                await self.handler(connection, request)
        except (asyncio.IncompleteReadError, ConnectionError):
            connection.closed.set()

    async def _read(self, connection: Connection) -> Request:
        head = await _collect(connection, connection.reader.readuntil(b"\r\n\r\n"))
        line, *rest = head.decode().rstrip().split("\r\n")
        headers = {k.lower(): v for k, v in (item.split(": ", 1) for item in rest)}
        length = int(headers.get("content-length", "0"))
        return Request(line, headers, await _collect(connection, connection.reader.readexactly(length)))


async def _collect(connection: Connection, read: Awaitable[bytes]) -> bytes:
    try:
        data = await read
    except asyncio.IncompleteReadError as error:
        connection.received += error.partial
        raise
    connection.received += data
    return data


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    running = MisbehavingServer()
    await running.start()
    yield running
    await running.stop()
