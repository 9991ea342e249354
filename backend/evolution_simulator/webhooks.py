"""Webhook delivery with Evolution's envelope, headers and in-memory retries."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .config import RetryPolicy
from .http import dumps
from .http_client import Header, HttpClient
from .shapes import Json, local_iso
from .store import Instance
from .webhook_events import subscription_name, url_suffix

log = logging.getLogger(__name__)

_AXIOS: list[Header] = [
    ("Accept", "application/json, text/plain, */*"),
    ("Content-Type", "application/json"),
    ("User-Agent", "axios/1.12.2"),
    ("Accept-Encoding", "gzip, compress, deflate, br"),
    ("Connection", "keep-alive"),
]
_LOG_LENGTH = 50_000


@dataclass(slots=True)
class Delivery:
    """One event on its way to one URL. `status` is the last answer, 0 when there was none."""

    id: int
    event: str
    instance: str
    url: str
    body: bytes
    headers: list[Header]
    created_at: float = field(default_factory=time.time)
    attempts: int = 0
    status: int = 0
    outcome: str = "pending"
    error: str = ""
    attempted_at: list[float] = field(default_factory=list)

    def summary(self) -> Json:
        """What the control API shows of it."""
        return {
            "id": self.id, "event": self.event, "instance": self.instance, "url": self.url,
            "status": self.status, "attempts": self.attempts, "outcome": self.outcome,
            "error": self.error, "created_at": self.created_at, "attempted_at": self.attempted_at,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What a fault does to one event: how many copies go out, each after which delay (seconds)."""

    delays: tuple[float, ...] = (0.0,)


Disturb = Callable[[str, str], Disturbance]


class WebhookSender:
    """Sends events; every event is a task of its own, so nothing is ordered, as in the real server."""

    def __init__(
        self, policy: RetryPolicy, rng: random.Random, disturb: Disturb, server_url: str, connections: int
    ) -> None:
        self.log: deque[Delivery] = deque(maxlen=_LOG_LENGTH)
        self.server_url = server_url
        self.client = HttpClient()
        self._policy = policy
        self._rng = rng
        self._disturb = disturb
        self._slots = asyncio.Semaphore(connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    def emit(self, instance: Instance, event: str, data: Any) -> list[asyncio.Task[None]]:
        """Send an event if the instance's webhook wants it; the tasks end with the last attempt."""
        delivery = self._prepare(instance, event, data)
        if delivery is None:
            return []
        delays = self._disturb(event, instance.name).delays
        if not delays:
            delivery.outcome = "dropped"
        copies = [delivery, *(self._register(delivery) for _ in delays[1:])]
        return [self._start(self._deliver(copy, delay)) for copy, delay in zip(copies, delays, strict=False)]

    async def emit_and_wait(self, instance: Instance, event: str, data: Any, patience: float) -> None:
        """Send an event and wait for its delivery, at most `patience` seconds."""
        tasks = self.emit(instance, event, data)
        if tasks:
            await asyncio.wait(tasks, timeout=patience)

    def cancel_all(self) -> None:
        """Forget every pending delivery, as a restart of the server would."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Stop: pending retries are lost, as in the real server."""
        tasks = list(self._tasks)
        self.cancel_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.client.close()

    def _prepare(self, instance: Instance, event: str, data: Any) -> Delivery | None:
        hook = instance.webhook
        if hook is None or not hook.enabled or subscription_name(event) not in hook.events:
            return None
        if not hook.url.startswith("http"):
            return None
        url = f"{hook.url}/{url_suffix(event)}" if hook.by_events else hook.url
        body = dumps(self._envelope(instance, hook.url, event, data))
        return self._register(Delivery(0, event, instance.name, url, body, _headers(hook.headers)))

    def _envelope(self, instance: Instance, destination: str, event: str, data: Any) -> Json:
        envelope: Json = {
            "event": event,
            "instance": instance.name,
            "data": data,
            "destination": destination,
            "date_time": local_iso(),
        }
        if instance.own_jid is not None:
            envelope["sender"] = instance.own_jid
        return {**envelope, "server_url": self.server_url, "apikey": instance.token}

    def _register(self, like: Delivery) -> Delivery:
        self._count += 1
        delivery = Delivery(self._count, like.event, like.instance, like.url, like.body, like.headers)
        self.log.append(delivery)
        return delivery

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _deliver(self, delivery: Delivery, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        while True:
            await self._attempt(delivery)
            if self._settled(delivery):
                delivery.body = b""
                return
            await asyncio.sleep(self.wait_after(delivery.attempts))

    def _settled(self, delivery: Delivery) -> bool:
        if 200 <= delivery.status < 300:
            delivery.outcome = "delivered"
            return True
        if delivery.status in self._policy.non_retryable or delivery.attempts >= self._policy.attempts:
            delivery.outcome = "abandoned"
            log.info("webhook abandoned", extra={"event": delivery.event, "status": delivery.status})
            return True
        return False

    async def _attempt(self, delivery: Delivery) -> None:
        async with self._slots:
            delivery.attempts += 1
            delivery.attempted_at.append(time.time())
            delivery.status, delivery.error = 0, ""
            try:
                answer = await self.client.request(
                    "POST", delivery.url, delivery.headers, delivery.body, self._policy.timeout
                )
            except (OSError, ValueError) as error:
                delivery.error = f"{type(error).__name__}: {error}"
            else:
                delivery.status = answer.status

    def wait_after(self, attempt: int) -> float:
        """Seconds between attempt number `attempt` (from 1) and the next."""
        policy = self._policy
        wait: float = min(policy.initial * 2 ** (attempt - 1), policy.maximum)
        wait += wait * policy.jitter * (self._rng.random() * 2 - 1)
        return max(policy.initial, wait)


def _headers(configured: dict[str, str]) -> list[Header]:
    """Axios' headers, then the configured ones; `jwt_key` becomes a bearer token made once per event."""
    headers = list(_AXIOS)
    for name, value in configured.items():
        if name == "jwt_key":
            headers.append(("Authorization", f"Bearer {_jwt(str(value))}"))
        else:
            headers.append((name, str(value)))
    return headers


def _jwt(key: str) -> str:
    now = int(time.time())
    claims = {"iat": now, "exp": now + 600, "app": "evolution", "action": "webhook"}
    signed = b".".join(_b64(dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + _b64(hmac.new(key.encode(), signed, hashlib.sha256).digest())).decode()


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
