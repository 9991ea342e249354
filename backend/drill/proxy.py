"""A TCP proxy between the system and its Redis that misbehaves on command.

It runs in a thread of its own; every method may be called from any other.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from testing.ports import spare_port

_CHUNK = 65_536


@dataclass(eq=False)
class _Link:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    frozen: bool = False
    swallowing: bool = False

    def reset(self) -> None:
        """Both ends see the connection end, at once."""
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass
class _Manners:
    """How the proxy treats what passes."""

    refuse: bool = False
    delay: float = 0.0
    swallow: tuple[bytes, ...] = ()
    probability: float = 0.0
    then_reset: bool = True


class Proxy:
    """Forwards a port of its own to `target_port` on the loopback until told to do otherwise."""

    def __init__(self, target_port: int, seed: int) -> None:
        self.port, self._target = spare_port(), target_port
        self.swallowed = 0
        self.connections = 0
        self._rng = random.Random(seed)
        self._manners = _Manners()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _soon(self, work: Callable[[], None]) -> None:
        """Run it in the proxy's loop and wait for it."""

        async def do() -> None:
            work()

        self._run(do())

    async def _close(self) -> None:
        self._server.close()
        self._reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- misbehaviour -----------------------------------------------------------------------------

    def reset(self) -> None:
        """Cut every connection there is; new ones work."""
        self._soon(self._reset)

    def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    def freeze(self) -> None:
        """Half-open: the connections there are pass nothing any more and are never closed; new ones work."""

        def do() -> None:
            for link in self._links:
                link.frozen = True

        self._soon(do)

    def refuse(self, on: bool) -> None:
        """Cut what there is, and every new connection at once."""
        self._manners.refuse = on
        if on:
            self.reset()

    def delay(self, seconds: float) -> None:
        """Every answer comes this much later."""
        self._manners.delay = seconds

    def swallow(self, probability: float, *commands: str, then_reset: bool = True) -> None:
        """The server gets a command whose text holds one of these, its answer never arrives, this often.

        Args:
            then_reset: the client sees the connection end; otherwise it hears nothing more.
        """
        manners = self._manners
        manners.swallow, manners.then_reset = tuple(name.encode() for name in commands), then_reset
        manners.probability = probability

    def behave(self) -> None:
        """From now on as a proxy should. Frozen connections stay frozen."""
        self._manners = _Manners()

    def retarget(self, port: int) -> None:
        """Send new connections elsewhere, and cut the old ones: a failover."""
        self._target = port
        self.reset()

    # --- forwarding -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._manners.refuse:
            client.transport.abort()
            return
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            client.transport.abort()
            return
        self.connections += 1
        link = _Link(client, server)
        self._links.add(link)
        for work in (self._upwards(link, reader), self._downwards(link, answers)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _upwards(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if link.frozen:
                    continue
                if self._swallows(data):
                    link.swallowing = True
                    self.swallowed += 1
                link.server.write(data)
                await link.server.drain()
        self._end(link)

    async def _downwards(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._manners.delay:
                    await asyncio.sleep(self._manners.delay)
                if link.swallowing:
                    if self._manners.then_reset:
                        link.reset()
                    else:
                        link.frozen = True
                if link.frozen or link.swallowing:
                    continue
                link.client.write(data)
                await link.client.drain()
        self._end(link)

    def _swallows(self, data: bytes) -> bool:
        manners = self._manners
        return any(name in data for name in manners.swallow) and self._rng.random() < manners.probability

    def _end(self, link: _Link) -> None:
        if link.frozen:
            return  # a half-open connection does not tell
        self._links.discard(link)
        link.reset()
