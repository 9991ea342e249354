"""How quickly webhooks are answered under load, and that none of a burst is lost, on this machine, now.

Starts private servers. First `--rate` webhooks a second for `--seconds`, each sent at its time whether or not the ones
before it were answered: how long each answer took. Then `--burst` at once. In the end every message must be in its
conversation, exactly once. Shared machines are noisy: compare only within one run.

    measure_webhooks.py [--rate 200] [--seconds 20] [--burst 1000] [--database postgresql|sqlite]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "backend"))

import httpx  # noqa: E402
from testing import servers  # noqa: E402

CUSTOMERS = 50
CONNECTIONS = 100
WITHIN_SECONDS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the webhook endpoint.")
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--burst", type=int, default=1000)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        system = System(stack, options.database)
        print(f"{options.database}, load average {os.getloadavg()[0]:.1f}")
        steady = asyncio.run(system.steady(options.rate, options.seconds))
        show(f"{options.rate}/s for {options.seconds} s, answered after", steady)
        began = time.monotonic()
        burst = asyncio.run(system.burst(options.burst))
        show(f"{options.burst} at once, answered after", burst)
        seconds = system.wait_until_applied()
        print(
            f"all applied {seconds:.1f} s after the burst's last answer ({time.monotonic() - began:.1f} s in all)"
        )
        print(f"stored {system.sent}, lost {system.sent - system.shown()}, refused {system.refused}")


def show(what: str, values: list[float]) -> None:
    values = sorted(values)
    middle, late = statistics.median(values), values[int(len(values) * 0.95)]
    print(f"{what:40} p50 {middle:7.1f}   p95 {late:7.1f}   max {values[-1]:7.1f} ms")


class System:
    """Web server with consumers inside, Valkey, and a database that waits for the disk."""

    def __init__(self, stack: contextlib.ExitStack, database: str) -> None:
        env = {
            "ALREA_VAR_DIR": stack.enter_context(tempfile.TemporaryDirectory()),
            "REDIS_URL": stack.enter_context(servers.valkey()).url,
            "DATABASE_URL": "",
            "SECRET_KEY": "only-for-this-measurement-" + "x" * 20,
            "CHAT_HEAL_SECONDS": "0",
        }
        if database == "postgresql":
            server = servers.postgresql(fsync="on", synchronous_commit="on", full_page_writes="on")
            env["DATABASE_URL"] = stack.enter_context(server).url
        servers.manage("migrate", env=env)
        self.web = stack.enter_context(servers.asgi_server(env))
        options = ["--tenant", "M", "--email", "m@example.org", "--password", "a-long-password-1"]
        options += ["--instance", "m", "--evolution-url", "http://127.0.0.1:1", "--api-key", "k", "--json"]
        self.given = json.loads(servers.manage("chat_bootstrap", *options, env=env))
        self.sent = self.refused = 0
        self._numbers = itertools.count()

    async def steady(self, rate: int, seconds: int) -> list[float]:
        """Milliseconds of each answer; a webhook that had to wait to be sent counts from when it was due."""
        began = asyncio.get_running_loop().time() + 0.5
        return await self._post_all([began + number / rate for number in range(rate * seconds)])

    async def burst(self, count: int) -> list[float]:
        return await self._post_all([asyncio.get_running_loop().time()] * count)

    async def _post_all(self, due: list[float]) -> list[float]:
        """Post a webhook at each of these times, over connections that stay open as Evolution's do not."""
        waiting = iter(due)
        workers = (self._connection(waiting) for _ in range(min(CONNECTIONS, len(due))))
        return [value for values in await asyncio.gather(*workers) for value in values]

    async def _connection(self, waiting: Iterator[float]) -> list[float]:
        """One connection that posts what is due next. Bare HTTP: a client library costs more than the server."""
        loop, took = asyncio.get_running_loop(), []
        place = urlsplit(self.web.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for due in waiting:
            await asyncio.sleep(max(0.0, due - loop.time()))
            body = json.dumps(self._body()).encode()
            writer.write(self._head % len(body) + body)
            status = await self._answer(reader)
            self.sent, self.refused = self.sent + (status == 200), self.refused + (status != 200)
            took.append((loop.time() - due) * 1000)
        writer.close()
        return took

    async def _answer(self, reader: asyncio.StreamReader) -> int:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        lengths = [int(line.partition(":")[2]) for line in head if line.startswith("content-length:")]
        if lengths:
            await reader.readexactly(lengths[0])
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        return int(head[0].split()[1])

    @property
    def _head(self) -> bytes:
        place = urlsplit(self.given["webhook_url"])
        lines = [
            f"POST {place.path} HTTP/1.1",
            f"Host: {urlsplit(self.web.url).netloc}",
            f"{self.given['webhook_header']}: {self.given['webhook_secret']}",
            "Content-Type: application/json",
            "Content-Length: %d",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def _body(self) -> dict[str, Any]:
        number = next(self._numbers)
        key = {
            "id": f"3A{number:018X}",
            "remoteJid": f"55119{number % CUSTOMERS:08}@s.whatsapp.net",
            "fromMe": False,
        }
        data = {
            "key": key,
            "pushName": "Ana",
            "status": "DELIVERY_ACK",
            "message": {"conversation": f"message {number}"},
            "messageType": "conversation",
            "messageTimestamp": int(time.time()),
            "source": "ios",
        }
        return {"event": "messages.upsert", "instance": "m", "data": data, "apikey": "k", "date_time": "x"}

    def shown(self) -> int:
        """Unread messages in all conversations, as the API tells them."""
        headers = {"Authorization": f"Token {self.given['token']}"}
        count, page = 0, f"{self.web.url}/api/chat/conversations/"
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
            while page:
                answer = client.get(page).json()
                count += sum(row["unread_count"] for row in answer["results"])
                page = answer["next"]
        return count

    def wait_until_applied(self) -> float:
        began = time.monotonic()
        while self.shown() < self.sent and time.monotonic() - began < WITHIN_SECONDS:
            time.sleep(2)
        return time.monotonic() - began


if __name__ == "__main__":
    main()
