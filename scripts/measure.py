"""`make measure`: how quick and how small an idle system is, on this machine, now.

Starts private servers, sends one message every 120 ms and prints, in milliseconds, how long the API took to answer
and how long until the first byte of the send reached Evolution (its simulator here); then memory and processor time of
the server with its consumers, idle. Shared machines are noisy: quote medians, and compare only within one run.

    measure.py [--messages 100] [--database sqlite|postgresql]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "backend"))

import httpx  # noqa: E402
from testing import servers  # noqa: E402

PAUSE_SECONDS = 0.12
IDLE_SECONDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure an idle system.")
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        system = System(stack, options.database)
        posts, starts = system.send(options.messages)
        print(f"{options.database}, {options.messages} messages, one every {PAUSE_SECONDS * 1000:.0f} ms")
        show("API answered after", posts)
        show("first byte at Evolution after", starts)
        print(f"server with consumers: {system.memory_mb():.0f} MB resident")
        print(f"idle: {system.idle_percent():.1f} % of one core over {IDLE_SECONDS} s")


def show(what: str, values: list[float]) -> None:
    values = sorted(values)
    middle, late = statistics.median(values), values[int(len(values) * 0.95)]
    print(f"{what:32} p50 {middle:6.1f}   p95 {late:6.1f}   min {values[0]:6.1f} ms")


class System:
    """Web server with consumers inside, Valkey, a database and the simulator."""

    def __init__(self, stack: contextlib.ExitStack, database: str) -> None:
        redis = stack.enter_context(servers.valkey())
        self.simulator = stack.enter_context(servers.simulator())
        env = {
            "ALREA_VAR_DIR": stack.enter_context(tempfile.TemporaryDirectory()),
            "REDIS_URL": redis.url,
            "DATABASE_URL": "",
            "SECRET_KEY": "only-for-this-measurement-" + "x" * 20,
        }
        if database == "postgresql":
            # As a deployment has it: a commit waits for the disk.
            server = servers.postgresql(fsync="on", synchronous_commit="on", full_page_writes="on")
            env["DATABASE_URL"] = stack.enter_context(server).url
        servers.manage("migrate", env=env)
        self.web = stack.enter_context(servers.asgi_server(env))
        self.simulator.call(
            "POST", "/instance/create", {"instanceName": "m", "integration": "WHATSAPP-BAILEYS"}
        )
        self.simulator.control("POST", "instances/m/state", {"state": "open"})
        options = [
            "--tenant",
            "M",
            "--email",
            "m@example.org",
            "--password",
            "a-long-password-1",
            "--instance",
            "m",
        ]
        options += ["--evolution-url", self.simulator.url, "--api-key", self.simulator.api_key, "--json"]
        token = json.loads(servers.manage("chat_bootstrap", *options, env=env))["token"]
        self.http = httpx.Client(base_url=self.web.url, headers={"Authorization": f"Token {token}"})
        phones = [f"55114000011{n:02d}" for n in range(10)]
        self.conversations = [
            self.http.post("/api/chat/conversations/start/", json={"contact_phone": phone}).json()["id"]
            for phone in phones
        ]

    def send(self, messages: int) -> tuple[list[float], list[float]]:
        """Milliseconds to the answer, and to the first byte at Evolution, of each message."""
        for n in range(10):
            self._post(n, f"warm {n}")
        time.sleep(1)
        posts, began = [], {}
        for n in range(messages):
            time.sleep(PAUSE_SECONDS)
            began[f"measured {n}"] = time.time()
            self._post(n, f"measured {n}")
            posts.append((time.time() - began[f"measured {n}"]) * 1000)
        time.sleep(2)
        arrived = {entry["text"]: entry["first_byte_at"] for entry in self.simulator.accepted()}
        return posts, [(arrived[text] - at) * 1000 for text, at in began.items()]

    def _post(self, n: int, text: str) -> None:
        body = {"conversation": self.conversations[n % len(self.conversations)], "content": text}
        self.http.post("/api/chat/messages/", json=body).raise_for_status()

    def memory_mb(self) -> float:
        """Resident memory of the web server, megabytes."""
        status = Path(f"/proc/{self.web.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def idle_percent(self) -> float:
        """Processor time an idle server uses, in per cent of one core."""
        time.sleep(3)
        before = self._ticks()
        time.sleep(IDLE_SECONDS)
        return (self._ticks() - before) / IDLE_SECONDS

    def _ticks(self) -> int:
        fields = Path(f"/proc/{self.web.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
