"""Many WebSockets in one process, each as cheap as a protocol can be: it looks for `at_ns` in what comes.

    python -m bench.sockets '{"port": 8000, "tenant": "<uuid>", "tickets": "<file>", "seconds": 10}'

Prints "ready" once all are open, then `{"ms": {"p50", "p95", "p99"}, "received"}` after `seconds`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from bench.figures import percentile

AT_ONCE: Final = 20
_AT: Final = re.compile(rb'"at_ns":\s*(\d+)')
PING: Final = 0x89


class Socket(asyncio.Protocol):
    """A client that says nothing but pong."""

    def __init__(self, path: str, waits: list[float], opened: asyncio.Future[None]) -> None:
        self._path, self._waits, self._opened = path, waits, opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        head = f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nUpgrade: websocket\r\n"
        key = "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        self._transport.write((head + key).encode())

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        self._waits += [(now - int(at)) / 1e6 for at in _AT.findall(data)]
        if data[0] == PING:
            size = data[1] & 0x7F
            self._transport.write(bytes([0x8A, 0x80 | size, 0, 0, 0, 0]) + data[2 : 2 + size])
        if b'"subscribed"' in data and not self._opened.done():
            self._opened.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(error or ConnectionError("closed before it was open"))


async def run(port: int, tenant: str, tickets: list[str], seconds: float) -> dict[str, Any]:
    """Open one socket for each ticket, wait, and say how long events were on their way."""
    waits: list[float] = []
    room = asyncio.Semaphore(AT_ONCE)
    loop = asyncio.get_running_loop()

    async def one(ticket: str) -> None:
        path = f"/ws/chat/tenant/{tenant}/?ticket={ticket}"
        opened: asyncio.Future[None] = loop.create_future()
        async with room:
            await loop.create_connection(lambda: Socket(path, waits, opened), "127.0.0.1", port)
        await opened

    await asyncio.gather(*(one(ticket) for ticket in tickets))
    print("ready", flush=True)
    await asyncio.sleep(seconds)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    counted = waits[len(tickets) :]  # without the first event, which finds the path cold
    return {
        "received": len(waits),
        "ms": {name: percentile(counted or [0.0], share) for name, share in shares.items()},
    }


def main() -> None:
    """Do what the one argument asks for."""
    given = json.loads(sys.argv[1])
    given["tickets"] = json.loads(Path(given["tickets"]).read_text())
    print(json.dumps(uvloop.run(run(**given))), flush=True)


if __name__ == "__main__":
    main()
