"""The load of a soak: our messages, customers who write, browsers that read along."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import websockets
from drill.load import Lane, Ledger, Load, Poster
from drill.oracle import Owed
from drill.world import World, phones
from websockets.typing import Origin

PHOTO_EVERY: Final = 50


class Stopped(Exception):
    """The load was told to end."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much load, and for how long."""

    rate: float
    """Messages a second that we send."""
    incoming: float
    """Messages a second that customers write."""
    conversations: int
    sockets: int
    seconds: float
    seed: int


def load(world: World, shape: Shape, ledger: Ledger, stop: threading.Event) -> Load:
    """Our messages, at a steady rate over so many conversations; leaves them when told to stop."""
    tenant = world.tenants[0]
    numbers = phones(shape.seed, shape.conversations)
    lanes = [tenant.lane(number) for number in numbers]
    poster = Poster(tenant.http, ledger)

    def post(lane: Lane, text: str) -> Owed:
        if stop.is_set():
            raise Stopped
        return poster.post(lane, text)

    turns = itertools.cycle(lanes)
    texts = (f"soak {shape.seed} n{number:07d}" for number in itertools.count())
    return Load(
        post, [(next(turns), next(texts)) for _ in range(int(shape.rate * shape.seconds))], rate=shape.rate
    )


class Customers:
    """What customers write, as webhooks of the simulator: texts, and a photo now and then."""

    def __init__(self, world: World, shape: Shape, stop: threading.Event) -> None:
        self._shape, self._stop = shape, stop
        self._http = httpx.Client(base_url=world.simulator.url, timeout=30, trust_env=False)
        self._http.headers["apikey"] = world.simulator.api_key
        self.said: list[str] = []
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="customers", daemon=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """They write for as long as the block, or until told to stop."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(40)
            self._http.close()

    def _run(self) -> None:
        numbers = itertools.cycle(phones(self._shape.seed, self._shape.conversations))
        began = time.monotonic()
        for n in itertools.count():
            due = began + n / self._shape.incoming
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._say(next(numbers), n)

    def _say(self, number: str, n: int) -> None:
        said: dict[str, str] = {"instance": "drill", "text": f"customer {n}"}
        if n % PHOTO_EVERY == PHOTO_EVERY - 1:
            said = {"instance": "drill", "kind": "image", "caption": f"customer {n}"}
        try:
            answer = self._http.post(f"/_control/customers/{number}/say", json=said)
            self.said.append(answer.raise_for_status().json()["key_id"])
        except httpx.HTTPError:
            self.failed += 1


class Sockets:
    """Browsers that read along."""

    def __init__(self, world: World, count: int) -> None:
        self._world, self._count = world, count
        self.events = 0
        self.closed = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="sockets", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._opened = threading.Event()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """They read for as long as the block. Raises AssertionError when they cannot be opened."""
        self._thread.start()
        if not self._opened.wait(30):
            raise AssertionError("the WebSockets did not open within 30 s")
        try:
            yield
        finally:
            if self._loop is not None and self._over is not None:
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            readers = [asyncio.create_task(self._read(await self._open(stack))) for _ in range(self._count)]
            self._opened.set()
            await self._over.wait()
            for reader in readers:
                reader.cancel()

    async def _open(self, stack: contextlib.AsyncExitStack) -> Any:
        tenant = self._world.tenants[0]
        ticket = await asyncio.to_thread(tenant.call, "POST", "ws-ticket/")
        place = self._world.web.url.replace("http", "ws", 1)
        url = f"{place}/ws/chat/tenant/{tenant.given['tenant_id']}/?ticket={ticket['ticket']}"
        return await stack.enter_async_context(
            websockets.connect(url, origin=Origin(self._world.web.url), proxy=None)
        )

    async def _read(self, socket: Any) -> None:
        try:
            async for _ in socket:
                self.events += 1
        except websockets.ConnectionClosed:
            pass
        self.closed += 1
