"""A small HTTP load: kept connections, requests at set moments, whatever the answers take. Costs 0.1 ms a request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `body` is JSON to be."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None

    def wire(self, host: str) -> bytes:
        """As it goes over the connection."""
        content = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}"]
        lines += ["Content-Type: application/json", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


@dataclass
class Answered:
    """What came of a load: milliseconds from the moment a request was due to its answer; seconds in all."""

    ms: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def expect(self, *wanted: int) -> Answered:
        """Itself; raises RuntimeError when another status came."""
        others = [status for status in self.statuses if status not in wanted]
        if others:
            raise RuntimeError(f"{len(others)} of {len(self.statuses)} answers were {sorted(set(others))}")
        return self


class Connections:
    """So many kept connections to one server, used in turn by whoever needs one."""

    def __init__(self, url: str, count: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._name, self._count = parts.netloc, count
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self) -> None:
        """Connect them all."""
        for _ in range(self._count):
            self._free.put_nowait(await asyncio.open_connection(self._host, self._port))

    async def close(self) -> None:
        """Close those that are free."""
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def ask(self, request: Request) -> int:
        """Send it over the next free connection; the answer's status."""
        reader, writer = await self._free.get()
        writer.write(request.wire(self._name))
        head = await reader.readuntil(b"\r\n\r\n")
        length = length_of(head)
        if length is None:
            await _skip_chunks(reader)
        else:
            await reader.readexactly(length)
        self._free.put_nowait((reader, writer))
        return int(head.split(b" ", 2)[1])


def length_of(head: bytes) -> int | None:
    """The body's length by the head of an answer; None when the body comes in chunks."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


async def _skip_chunks(reader: asyncio.StreamReader) -> None:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


def at_rate(url: str, requests: Sequence[Request], per_second: float, connections: int = 16) -> Answered:
    """Send them at a steady rate, whether or not earlier ones are answered."""
    return asyncio.run(_load(url, requests, per_second, connections))


def flat_out(url: str, requests: Sequence[Request], connections: int = 32) -> Answered:
    """Send them as fast as so many connections allow."""
    return asyncio.run(_load(url, requests, None, connections))


async def _load(
    url: str, requests: Sequence[Request], per_second: float | None, connections: int
) -> Answered:
    pool, told = Connections(url, connections), Answered()
    await pool.open()

    async def one(request: Request, due: float) -> None:
        told.statuses.append(await pool.ask(request))
        told.ms.append((time.monotonic() - due) * 1000)

    began = time.monotonic()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for n, request in enumerate(requests):
            due = began + n / per_second if per_second else time.monotonic()
            if per_second:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(one(request, due))
    told.seconds = time.monotonic() - began
    await pool.close()
    return told
