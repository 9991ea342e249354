"""A running simulator, a webhook receiver, and comparison with recorded exchanges."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from evolution_simulator.cli import uvicorn_config
from evolution_simulator.config import RetryPolicy, SimulatorConfig, Timing
from evolution_simulator.simulator import Simulator

CAPTURES = Path(__file__).parent / "captures"
API_KEY = "global-key"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
QUICK = Timing(delivery=(0.01, 0.02), read=(0.01, 0.02), answer=(0.01, 0.02), connect=0.0)
FAST_RETRY = RetryPolicy(attempts=4, initial=0.05, maximum=0.4, timeout=1.0)


def until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "the condition") -> Any:
    """The first truthy value of `condition`; fails the test after a deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class RunningSimulator:
    """A simulator served by uvicorn in a thread."""

    def __init__(self, **options: Any) -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        defaults: dict[str, Any] = {"seed": 7, "timing": QUICK, "retry": FAST_RETRY}
        self.config = SimulatorConfig(**{"api_key": API_KEY, "port": port, **defaults, **options})
        served = uvicorn_config(self.config)
        self.sim: Simulator = served.app.state.simulator  # type: ignore[union-attr]
        self.url = f"http://127.0.0.1:{port}"
        self._server = uvicorn.Server(served)
        self._thread = threading.Thread(target=self._server.run, args=([sock],), daemon=True)
        self._thread.start()
        until(lambda: self._server.started, what="uvicorn")
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(10)

    def call(self, method: str, path: str, body: Any = None, key: str | None = API_KEY) -> httpx.Response:
        headers = {"apikey": key} if key else {}
        return self.http.request(method, path, json=body, headers=headers)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"/_control/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, name: str, integration: str = "WHATSAPP-BAILEYS", **more: Any) -> Any:
        body = {"instanceName": name, "integration": integration, "token": f"{name}-token", **more}
        answer = self.call("POST", "/instance/create", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def open(self, name: str, number: str = "5511900000000") -> None:
        self.control("POST", f"instances/{name}/state", {"state": "open", "number": number, "webhook": False})

    def hook(self, name: str, url: str, events: tuple[str, ...] = (), **more: Any) -> None:
        webhook = {"enabled": True, "url": url, "events": list(events), **more}
        answer = self.call("POST", f"/webhook/set/{name}", {"webhook": webhook})
        assert answer.status_code == 201, answer.text

    def send(self, text: str, number: str = "5511990000001", instance: str = "lab-wa") -> httpx.Response:
        return self.call("POST", f"/message/sendText/{instance}", {"number": number, "text": text})

    def accepted(self, **query: Any) -> list[dict[str, Any]]:
        answer = self.http.get("/_control/accepted", params=query).json()
        return list(answer["accepted"])

    def fault(self, **spec: Any) -> Any:
        return self.control("POST", "faults", spec)


@dataclass
class Received:
    """One webhook as it arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes
    at: float

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw))

    @property
    def event(self) -> str:
        return str(self.body["event"])


@dataclass
class Receiver:
    """A webhook receiver whose answers a test can choose."""

    answer: Callable[[Received], int | None] = lambda _: 200
    """Status to answer with; None holds the connection without answering for a while."""
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                arrived = Received(self.path, dict(self.headers), raw, time.time())
                receiver.received.append(arrived)
                status = receiver.answer(arrived)
                if status is None:
                    time.sleep(2)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/ok"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, event: str) -> list[Received]:
        return [arrived for arrived in list(self.received) if arrived.event == event]

    def data(self, event: str) -> list[Any]:
        return [arrived.body["data"] for arrived in self.of(event)]

    def wait(self, event: str, count: int = 1, seconds: float = 10.0) -> list[Received]:
        until(lambda: len(self.of(event)) >= count, seconds, f"{count} {event}")
        return self.of(event)


def capture(kind: str, name: str) -> dict[str, Any]:
    """One recorded exchange."""
    return dict(json.loads((CAPTURES / kind / f"{name}.json").read_text()))


def captured(kind: str, *patterns: str) -> list[str]:
    """Names of the recorded exchanges that match, sorted."""
    return sorted({path.stem for pattern in patterns for path in (CAPTURES / kind).glob(f"{pattern}.json")})


def replay(running: RunningSimulator, case: dict[str, Any], key: str | None = API_KEY) -> httpx.Response:
    """Send a recorded request again."""
    request = case["request"]
    headers = {name: value for name, value in request["headers"].items() if name != "apikey"}
    if key and "apikey" in request["headers"]:
        headers["apikey"] = key
    body = request.get("body")
    if isinstance(body, str):
        return running.http.request(
            request["method"], request["path"], headers=headers, content=body.encode()
        )
    return running.http.request(request["method"], request["path"], headers=headers, json=body)


_PATTERNS = [
    (re.compile(r"^[0-9a-f]{8}-[0-9a-f-]{27}$"), "<uuid>"),
    (re.compile(r"^[0-9A-F]{8}-[0-9A-F-]{27}$"), "<UUID>"),
    (re.compile(r"^c[a-z0-9]{24}$"), "<cuid>"),
    (re.compile(r"^3EB0[0-9A-F]{18}$"), "<key id>"),
    (re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z$"), "<time>"),
    (re.compile(r'"templateId":"[^"]*"'), "<template>"),
]
_TIMES = {"messageTimestamp", "senderTimestampMs", "timestampMs", "sent_at", "subjectTime", "creation"}
_PLACES = {"server_url", "destination"}


def normal(value: Any, name: str = "") -> Any:
    """A body with everything that differs from run to run replaced by what it is."""
    if isinstance(value, dict):
        if value and all(key.isdigit() for key in value):
            return "<bytes>"
        if set(value) == {"low", "high", "unsigned"}:
            return "<long>"
        return {key: normal(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [normal(item) for item in value]
    if name in _TIMES and not isinstance(value, dict | list) and value is not None:
        return f"<{type(value).__name__} time>"
    if name in _PLACES:
        return f"<{name}>"
    return _normal_text(value) if isinstance(value, str) else value


def _normal_text(value: str) -> str:
    for pattern, label in _PATTERNS:
        if pattern.search(value):
            return label if pattern.match(value) else pattern.sub(label, value)
    return value


def shape(value: Any) -> Any:
    """Only names and types: for answers whose content depends on a history that is not replayed."""
    if isinstance(value, dict):
        if value and all(key.isdigit() for key in value):
            return "<bytes>"
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__
