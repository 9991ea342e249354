"""The whole system on spare ports, driven from outside as a deployment is: HTTP, WebSocket, signals.

The oracle is the simulator's log of what it accepted, whatever it answered.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from testing import servers
from testing.waiting import eventually
from websockets.sync.client import ClientConnection, connect

# Short enough for a test, long enough that nothing decides by accident.
QUICK = {
    "CHAT_SEND_SETTLE_SECONDS": "4",
    "CHAT_RETRY_BASE_SECONDS": "0.3",
    "CHAT_SWEEP_AFTER_SECONDS": "3",
    "CHAT_STREAM_RECLAIM_IDLE_MS": "4000",
    "CHAT_STREAM_BLOCK_TIMEOUT_MS": "1000",
    "CHAT_HEARTBEAT_SECONDS": "1",
    "CHAT_HEARTBEAT_DEAD_SECONDS": "4",
    "CHAT_DRAIN_SECONDS": "10",
}
FINAL = {"submitted", "sent", "delivered", "seen", "failed", "held", "cancelled"}


class World:
    """A tenant, an instance and its customers; a web server without consumers, and workers as a test wants them."""

    def __init__(self, env: Mapping[str, str], stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.env = {**env, **QUICK, "CHAT_DISABLE_ASGI_CONSUMERS": "1"}
        self.simulator = stack.enter_context(servers.simulator("--seed", "1", "--delivery", "0.05", "0.1"))
        self.web = stack.enter_context(servers.asgi_server(self.env))
        self._provision()
        self.http = stack.enter_context(httpx.Client(base_url=self.web.url, timeout=30))
        self.http.headers["Authorization"] = f"Token {self.given['token']}"
        self.sent: dict[str, list[str]] = defaultdict(list)

    def _provision(self) -> None:
        self.simulator.call(
            "POST", "/instance/create", {"instanceName": "flow", "integration": "WHATSAPP-BAILEYS"}
        )
        self.simulator.control("POST", "instances/flow/state", {"state": "open"})
        options = ["--tenant", "Flow", "--email", "flow@example.org", "--password", "a-long-password-1"]
        options += ["--instance", "flow", "--evolution-url", self.simulator.url]
        options += ["--api-key", self.simulator.api_key, "--json"]
        env = {**self.env, "PUBLIC_URL": self.web.url}
        self.given: dict[str, str] = json.loads(servers.manage("chat_bootstrap", *options, env=env))
        webhook = {
            "enabled": True,
            "url": self.given["webhook_url"],
            "headers": {self.given["webhook_header"]: self.given["webhook_secret"]},
            "events": [],
        }
        self.simulator.call("POST", "/webhook/set/flow", {"webhook": webhook})

    # --- parts ---------------------------------------------------------------------------------

    def worker(self, **env: str) -> servers.StreamWorker:
        """A worker process that runs until the test ends or kills it."""
        return self._stack.enter_context(servers.stream_worker({**self.env, **env}, send_workers=2))

    def socket(self) -> ClientConnection:
        """A subscribed WebSocket of the tenant."""
        ticket = self.http.post("/api/chat/ws-ticket/").json()["ticket"]
        url = f"{self.web.url.replace('http', 'ws', 1)}/ws/chat/tenant/{self.given['tenant_id']}/?ticket={ticket}"
        socket = self._stack.enter_context(connect(url))
        socket.send(json.dumps({"type": "subscribe"}))
        return socket

    # --- verbs ---------------------------------------------------------------------------------

    def conversation(self, phone: str) -> str:
        """The id of a conversation with this number."""
        answer = self.http.post("/api/chat/conversations/start/", json={"contact_phone": phone})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def send(self, conversation: str, text: str | None = None) -> str:
        """POST a message (its text unique unless given); its id."""
        text = text or f"n {len(self.sent[conversation]):05d} {uuid.uuid4().hex[:8]}"
        body = {"conversation": conversation, "content": text, "client_message_id": uuid.uuid4().hex}
        answer = self.http.post("/api/chat/messages/", json=body)
        assert answer.status_code == 201, answer.text
        self.sent[conversation].append(text)
        return str(answer.json()["id"])

    def message(self, message_id: str) -> dict[str, Any]:
        """A message as the API shows it."""
        shown: dict[str, Any] = self.http.get(f"/api/chat/messages/{message_id}/").json()
        return shown

    def wait_until(self, message_id: str, *statuses: str, within: float = 30) -> dict[str, Any]:
        """Wait for a message to reach one of these."""
        eventually(
            lambda: self.message(message_id)["status"] in statuses, within, f"{message_id} to be {statuses}"
        )
        return self.message(message_id)

    def settle(self, within: float = 60) -> None:
        """Wait until no delivery is on its way any more."""
        from apps.chat.models import Delivery

        eventually(
            lambda: not Delivery.objects.filter(state__in=(0, 1, 2)).exists(), within, "all deliveries to end"
        )

    # --- verdict -------------------------------------------------------------------------------

    def verdict(self) -> dict[str, int]:
        """lost, doubled, out_of_order, by the simulator's log against what the API accepted."""
        texts = [entry["text"] for entry in self.simulator.accepted()]
        wanted = [text for lane in self.sent.values() for text in lane]
        counts = Counter(texts)
        places = {text: place for place, text in reversed(list(enumerate(texts)))}
        disorder = 0
        for lane in self.sent.values():
            order = [places[text] for text in lane if text in places]
            disorder += order != sorted(order)
        return {
            "lost": sum(1 for text in wanted if not counts[text]),
            "doubled": sum(count - 1 for count in counts.values()),
            "out_of_order": disorder,
        }


CLEAN = {"lost": 0, "doubled": 0, "out_of_order": 0}


@contextlib.contextmanager
def build(env: Mapping[str, str]) -> Iterator[World]:
    """A world that goes away with the block."""
    with contextlib.ExitStack() as stack:
        yield World(env, stack)


def events(
    socket: ClientConnection, until: Callable[[dict[str, Any]], bool], within: float = 15
) -> list[dict[str, Any]]:
    """What the socket said, up to and with the first event that `until` is true of."""
    heard: list[dict[str, Any]] = []
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            text = str(socket.recv(timeout=max(0.1, deadline - time.monotonic())))
        except TimeoutError:
            break
        heard.append(json.loads(text))
        if until(heard[-1]):
            return heard
    raise AssertionError(f"not among {[event.get('type') for event in heard]}")


def spread(world: World, lanes: int) -> list[str]:
    """Conversations with that many customers."""
    return [world.conversation(f"551140{random.Random(lane).randrange(10**6):06d}") for lane in range(lanes)]
