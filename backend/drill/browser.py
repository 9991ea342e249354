"""A browser as far as events go: it follows a team's WebSocket, loses it, and picks up where it was."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from drill.world import Tenant

_AT_MOST_SECONDS = 0.4
# The client's own words about a connection that we cut while it was reading.
_QUIET = logging.getLogger("drill.browser")
_QUIET.setLevel(logging.CRITICAL + 1)


@dataclass
class View:
    """What one browser knows, from events alone."""

    status: dict[str, str] = field(default_factory=dict)
    """Message id -> the word people see."""
    seq: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    """drops, resyncs, and what must not be: holes, repeats."""

    def take(self, event: dict[str, Any]) -> None:
        """One event with a number."""
        seq = int(event["seq"])
        if event["type"] == "resync_required":
            self.counts["resyncs"] += 1
        elif self.seq is not None and seq != self.seq + 1:
            self.counts["holes" if seq > self.seq else "repeats"] += 1
        self.seq = seq
        if event["type"] == "message_received":
            self.status[event["message"]["id"]] = event["message"]["status"]
        elif event["type"] == "message_status_update":
            self.status[event["message_id"]] = event["status"]


class Browser:
    """Follows the events of a tenant on a thread; while `drops` is set, its connection is cut again and again.

    Use as a context manager. `view` may be read once `caught_up` answered True.
    """

    def __init__(self, tenant: Tenant, seed: str) -> None:
        self.view, self.drops = View(), threading.Event()
        self.error: Exception | None = None
        self._tenant, self._rng = tenant, random.Random(f"browser {seed}")
        self._stop, self._told = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"browser {seed}", daemon=True)

    def __enter__(self) -> Browser:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def wait_open(self, within: float = 20) -> None:
        """Wait until it hears events."""
        if not self._told.wait(within):
            raise AssertionError(f"no socket within {within:g} s ({self.error!r})")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._one_connection()
            except (WebSocketException, OSError, AssertionError) as error:
                self.error = error
                time.sleep(0.05)

    def _one_connection(self) -> None:
        until = time.monotonic() + self._rng.uniform(0, _AT_MOST_SECONDS)
        with self._open() as wire:
            while not self._stop.is_set():
                if self.drops.is_set() and time.monotonic() > until:
                    self.view.counts["drops"] += 1
                    _cut(wire)
                    return
                with contextlib.suppress(TimeoutError):
                    self._hear(wire, json.loads(wire.recv(timeout=0.02)))

    @contextlib.contextmanager
    def _open(self) -> Iterator[ClientConnection]:
        ticket = self._tenant.call("POST", "ws-ticket/")["ticket"]
        web = str(self._tenant.http.base_url).rstrip("/")
        path = f"/ws/chat/tenant/{self._tenant.given['tenant_id']}/?ticket={ticket}"
        url = web.replace("http", "ws", 1) + path
        wire = connect(url, origin=Origin(web), open_timeout=10, close_timeout=0.2, proxy=None, logger=_QUIET)
        try:
            wire.send(json.dumps({"type": "subscribe"}))
            yield wire
        finally:
            wire.close()

    def _hear(self, wire: ClientConnection, event: dict[str, Any]) -> None:
        if event["type"] == "subscribed":
            self.view.seq = event["last_seq"] if self.view.seq is None else self.view.seq
            wire.send(json.dumps({"type": "resume", "last_seq": self.view.seq}))
            self._told.set()
        elif "seq" in event and event["type"] != "pong":
            self.view.take(event)


def _cut(wire: ClientConnection) -> None:
    """As a network does: no goodbye, and what is under way is lost."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.shutdown(socket.SHUT_RDWR)
