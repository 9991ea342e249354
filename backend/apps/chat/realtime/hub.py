"""One process's ear at Redis: hears the live channels of watched tenants and fans events out to sockets.

A hub belongs to one event loop. It keeps each tenant's stream whole: numbers are contiguous, and what the
subscription missed is read from the log. When the log cannot help, the sockets get `resync_required`.

One subscription for each process and tenant, and one parse of each event, whatever the number of sockets: the
channel layer would take a subscription, a queue and an unpacking for each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from alrea_sense.redis_url import address
from django.conf import settings
from django.db import Error as DatabaseTrouble
from redis.asyncio.client import PubSub

from apps.chat.outage import Outage
from apps.chat.realtime import access, log
from apps.chat.redis_clients import TROUBLE, async_client

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
RETRY_SECONDS = 0.5
FORGIVEN_SECONDS = 1.0
RECHECK_SECONDS = 60.0


class Listener(Protocol):
    """What a hub tells: a socket."""

    def offer(self, seq: int, text: str) -> None:
        """Take an event; must not block."""

    def renew(self, seq: int) -> None:
        """Something up to this number cannot be told any more; must not block."""

    @property
    def user_id(self) -> UUID:
        """Whose it is."""

    async def dismiss(self) -> None:
        """Its user may not listen any more."""


class Watched:
    """A tenant with sockets here: who listens, and up to which number they were told."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.listeners: set[Listener] = set()
        self.seq = 0
        self.lock = asyncio.Lock()

    def tell(self, events: Iterable[tuple[int, str]]) -> None:
        """Hand on what is new, in order."""
        for seq, text in events:
            if seq > self.seq:
                self.seq = seq
                for listener in tuple(self.listeners):
                    listener.offer(seq, text)

    def resync(self, seq: int) -> None:
        """Say that something is missing which nobody can tell any more."""
        self.seq = seq
        for listener in tuple(self.listeners):
            listener.renew(seq)


class Hub:
    """Subscription and listeners of one event loop. Begins with `attach`, ends with its last listener."""

    def __init__(self) -> None:
        self._url = settings.CHANNELS_REDIS_URL
        self.redis = async_client(self._url)
        self._pubsub: PubSub = self.redis.pubsub()
        self._tenants: dict[str, Watched] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._subscribing = asyncio.Lock()
        self._away_since: float | None = None
        self._outage = Outage(logger, "Redis (sockets)", address(self._url))
        self._heard_at = time.monotonic()

    async def attach(self, tenant_id: str, listener: Listener) -> int:
        """Listen to a tenant from now on; returns the number of its last event, 0 when Redis is away."""
        watched = self._tenants.setdefault(tenant_id, Watched(tenant_id))
        watched.listeners.add(listener)
        async with watched.lock:
            if not watched.seq:
                try:
                    await self._begin(watched)
                except TROUBLE as problem:
                    self._gone(problem)
        if not self._tasks:
            looks = (self._listen(), self._check_often(), self._check_members())
            self._tasks = [asyncio.create_task(look) for look in looks]
        return watched.seq

    async def detach(self, tenant_id: str, listener: Listener) -> None:
        """Stop listening; the last one out leaves the channel."""
        watched = self._tenants.get(tenant_id)
        if watched is None:
            return
        watched.listeners.discard(listener)
        if not watched.listeners:
            del self._tenants[tenant_id]
            with contextlib.suppress(*TROUBLE):
                async with self._subscribing:
                    if tenant_id not in self._tenants:
                        await self._pubsub.unsubscribe(log.keys(tenant_id)[2])
        if not self._tenants:
            await self.close()

    async def close(self) -> None:
        """Stop the tasks and close the connections."""
        _hubs.pop(asyncio.get_running_loop(), None)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(*TROUBLE):
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _begin(self, watched: Watched) -> None:
        """Subscribe and learn the number; what slips between is read when the subscription is confirmed."""
        async with self._subscribing:
            await self._pubsub.subscribe(log.keys(watched.tenant_id)[2])
        watched.seq = (await log.read_since(self.redis, watched.tenant_id, log.NEWEST)).seq

    async def _listen(self) -> None:
        while True:
            if not self._pubsub.subscribed:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                message = await self._pubsub.get_message(timeout=CHECK_SECONDS)
                if message is not None:
                    await self._hear(message)
            except TROUBLE as problem:
                self._gone(problem)
                await asyncio.sleep(RETRY_SECONDS)

    async def _hear(self, message: dict[str, Any]) -> None:
        self._heard_at = time.monotonic()
        watched = self._tenants.get(log.tenant_of(message["channel"]))
        if watched is None or message["type"] not in {"message", "subscribe"}:
            return
        if message["type"] == "subscribe":
            await self._catch_up(watched)
            return
        text = message["data"]
        seq = log.seq_of(text)
        if seq == watched.seq + 1:
            watched.tell([(seq, text)])
        elif seq > watched.seq:
            await self._catch_up(watched)

    async def _check_often(self) -> None:
        """Find what a silent subscription missed, and notice that Redis is back."""
        while True:
            await asyncio.sleep(RETRY_SECONDS if self._away_since else CHECK_SECONDS)
            try:
                missed = [await self._catch_up(watched) for watched in tuple(self._tenants.values())]
                if any(missed) and time.monotonic() - self._heard_at > CHECK_SECONDS:
                    await self._reconnect()
                self._back()
            except TROUBLE as problem:
                self._gone(problem)

    async def _check_members(self) -> None:
        """Show those out who may not watch any more. One look for all sockets of a tenant."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            for watched in tuple(self._tenants.values()):
                try:
                    await self._show_out(watched)
                except DatabaseTrouble as problem:
                    logger.warning(
                        "realtime: members could not be looked up", extra={"error": type(problem).__name__}
                    )

    async def _show_out(self, watched: Watched) -> None:
        listeners = tuple(watched.listeners)
        members = await access.members_among({one.user_id for one in listeners}, watched.tenant_id)
        for listener in listeners:
            if listener.user_id not in members:
                await listener.dismiss()

    async def _catch_up(self, watched: Watched) -> bool:
        """Read what was missed; True when something was."""
        async with watched.lock:
            before = watched.seq
            if not before:
                await self._begin(watched)
                watched.resync(watched.seq)
                return False
            tail = await log.read_since(self.redis, watched.tenant_id, before)
            if watched.seq != before:
                return False
            if tail.complete:
                watched.tell(tail.events)
            else:
                watched.resync(tail.seq)
            return tail.seq != before

    async def _reconnect(self) -> None:
        """The subscription is deaf (a half-open connection, say): the next read makes a new one."""
        if self._pubsub.connection is not None:
            await self._pubsub.connection.disconnect()

    def _gone(self, problem: Exception) -> None:
        self._outage.failed(problem)
        if self._away_since is None:
            self._away_since = time.monotonic()

    def _back(self) -> None:
        """After a real outage publishers may have died with what they dropped: everyone fetches anew."""
        if self._away_since is None:
            return
        seconds = time.monotonic() - self._away_since
        self._away_since = None
        self._outage.worked()
        if seconds > FORGIVEN_SECONDS:
            for watched in self._tenants.values():
                watched.resync(watched.seq)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The running loop's hub."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
