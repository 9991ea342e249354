"""The system under a drill: servers on spare ports, provisioned as a deployment is, driven from outside."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis
from testing import http as loopback
from testing import servers
from testing.rabbitmq import rabbitmq
from testing.s3 import KEYS, S3Server

from drill.database import SECRET_KEY, Database
from drill.load import Lane
from drill.oracle import Sent, lane_of
from drill.proxy import Proxy
from drill.times import Times

GROUP = "chat_send_workers"
SEND_STREAM = "chat:stream:send_message"
WORK_STREAMS = (SEND_STREAM, "chat:stream:mark_as_read")
STREAMS_DB = 3
BUCKET = "files"
PASSWORD = "drill-only-123"  # noqa: S105  (for systems that live for seconds on the loopback)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scenario wants the world to be."""

    settings: Mapping[str, str]
    simulator: tuple[str, ...] = ()
    redis: Mapping[str, str] | None = None
    proxied: bool = False
    tenants: int = 1
    broker: bool = False
    bucket: bool = False


class Tenant:
    """A tenant with one instance: its credentials, and its customers."""

    def __init__(self, name: str, given: Mapping[str, str], web_url: str) -> None:
        self.name, self.given = name, given
        self.http = httpx.Client(base_url=web_url, timeout=30, trust_env=False)
        self.http.headers["Authorization"] = f"Token {given['token']}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an API call under /api/chat/; raises AssertionError unless it is 2xx."""
        answer = self.http.request(method, f"/api/chat/{path}", json=body)
        if not answer.is_success:
            raise AssertionError(f"{method} {path} answered {answer.status_code}: {answer.text[:200]}")
        return answer.json() if answer.content else None

    def lane(self, phone: str) -> Lane:
        """The conversation with this number."""
        return Lane(self.call("POST", "conversations/start/", {"contact_phone": phone})["id"], phone)


class World:
    """Redis, database, simulator and web server (without consumers); workers as a scenario starts them."""

    def __init__(self, directory: Path, database: Database, times: Times, seed: int, plan: Plan) -> None:
        self.directory, self.database, self.times, self.plan = directory, database, times, plan
        self.seed = seed
        self._stack = contextlib.ExitStack()
        self._workers = 0
        self.workers: list[servers.Process] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The database and the logs go away with the directory: nothing needs an orderly end.
        for process in (*self.workers, self.web, self.simulator, self.redis):
            process.kill()
        self._stack.close()

    def _start(self) -> None:
        self.redis = self._redis(self.directory)
        self.proxy = (
            self._stack.enter_context(Proxy(self.redis.port, self.seed)) if self.plan.proxied else None
        )
        self.simulator = servers.Simulator(
            self.directory, "--seed", str(self.seed), "--delivery", "0.05", "0.1", *self.plan.simulator
        )
        self.broker = self._stack.enter_context(rabbitmq()) if self.plan.broker else None
        self.bucket = self._bucket() if self.plan.bucket else None
        self.env = self._environment()
        self.web = servers.AsgiServer(self.directory, self.env)
        parts = (self.redis, self.simulator, self.web)
        for process in parts:
            self._stack.callback(process.kill)
            process.launch()
        names = ["drill", *(f"drill-{n}" for n in range(2, self.plan.tenants + 1))]
        granted = [self._grant(name) for name in names]
        for process in parts:
            process.wait_ready(60)
        self.tenants = [self._tenant(name, given) for name, given in zip(names, granted, strict=True)]

    def _redis(self, directory: Path, **options: str) -> servers.RedisServer:
        options = {**(self.plan.redis or {}), **options}
        try:
            binary = servers.valkey_binary() if self.database.kind == "sqlite" else servers.redis_binary()
        except servers.ServerMissing:
            binary = servers.valkey_binary()
        return servers.RedisServer(binary, directory, port=None, **options)

    def replica(self) -> servers.RedisServer:
        """One more Redis, following the first."""
        directory = self.directory / "replica"
        directory.mkdir()
        server = self._redis(directory, replicaof=f"127.0.0.1 {self.redis.port}")
        self._stack.callback(server.kill)
        return server.start()

    def _environment(self) -> dict[str, str]:
        port = self.proxy.port if self.proxy else self.redis.port
        return {
            "ALREA_VAR_DIR": str(self.directory),
            "SECRET_KEY": SECRET_KEY,
            "DATABASE_URL": self.database.url,
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "CHAT_DISABLE_ASGI_CONSUMERS": "1",
            "CHAT_HTTP_THREADS": "8",
            **({"RABBITMQ_URL": self.broker.url} if self.broker else {}),
            **(_bucket_settings(self.bucket.port) if self.bucket else {}),
            **self.times.env,
            **self.plan.settings,
        }

    def _bucket(self) -> Proxy:
        """A bucket for files, behind a proxy that can take it away."""
        server = S3Server(self.directory)
        self._stack.callback(server.kill)
        server.start(60).make_bucket(BUCKET)
        return self._stack.enter_context(Proxy(server.port, self.seed))

    def _grant(self, name: str) -> dict[str, str]:
        """Tenant, user and instance, as at a deployment."""
        options = ["--tenant", name, "--email", f"{name}@example.org", "--password", PASSWORD]
        options += ["--instance", name, "--evolution-url", self.simulator.url]
        options += ["--api-key", self.simulator.api_key, "--json"]
        env = {**self.env, "PUBLIC_URL": self.web.url}
        given: dict[str, str] = json.loads(servers.manage("chat_bootstrap", *options, env=env))
        return given

    def _tenant(self, name: str, given: dict[str, str]) -> Tenant:
        call = self.simulator.call
        call("POST", "/instance/create", {"instanceName": name, "integration": "WHATSAPP-BAILEYS"})
        self.simulator.control("POST", f"instances/{name}/state", {"state": "open"})
        webhook = {
            "enabled": True,
            "url": given["webhook_url"],
            "headers": {given["webhook_header"]: given["webhook_secret"]},
            "events": [],
        }
        call("POST", f"/webhook/set/{name}", {"webhook": webhook})
        tenant = Tenant(name, given, self.web.url)
        self._stack.callback(tenant.http.close)
        return tenant

    # --- workers ----------------------------------------------------------------------------------

    def worker(
        self,
        env: Mapping[str, str] | None = None,
        *,
        send_workers: int = 2,
        wait: bool = True,
        backend: Path = servers.BACKEND,
    ) -> servers.StreamWorker:
        """A worker process until the drill's end, or until somebody kills it."""
        worker = servers.StreamWorker(
            self.directory,
            {**self.env, **(env or {})},
            send_workers=send_workers,
            mark_workers=1,
            backend=backend,
        )
        self._workers += 1
        worker.name = f"worker-{self._workers}"
        worker.log = self.directory / f"{worker.name}.log"
        self.workers.append(worker)
        worker.launch()
        return worker.wait_ready(60) if wait else worker

    def media_worker(self) -> servers.Process:
        """A process that fetches customers' files, until the drill's end."""
        args = [sys.executable, "manage.py", "start_chat_media_worker"]
        env = servers.environment(self.env)
        log = self.directory / "media-worker.log"
        worker = servers.Process("media-worker", args, log=log, cwd=servers.BACKEND, env=env)
        self.workers.append(worker)
        worker.launch()
        worker.wait_for_line("ready", 60)
        return worker

    def another_web(self, backend: Path) -> Tenant:
        """The first tenant, by a further web server that runs the code of `backend`."""
        web = servers.AsgiServer(self.directory, self.env, backend=backend)
        web.name, web.log = "web-2", self.directory / "web-2.log"
        self._stack.callback(web.kill)
        web.start(60)
        tenant = Tenant(self.tenants[0].name, self.tenants[0].given, web.url)
        self._stack.callback(tenant.http.close)
        return tenant

    # --- looking ----------------------------------------------------------------------------------

    def streams(self) -> redis.Redis:
        """A client of the streams' database, past any proxy; the caller closes it."""
        return redis.Redis(port=self.redis.port, db=STREAMS_DB, socket_timeout=5, decode_responses=True)

    def left_in_redis(self) -> int:
        """Entries of the work streams, pending or unread."""
        with contextlib.closing(self.streams()) as client:
            return sum(int(client.xlen(name)) for name in WORK_STREAMS)

    def accepted(self) -> list[Sent]:
        """The accept log."""
        return [
            Sent(lane_of(entry["jid"]), entry["text"], entry["key_id"], float(entry["at"]), entry["answered"])
            for entry in self.simulator.accepted()
        ]

    def accepted_count(self) -> int:
        """How many sends were accepted so far."""
        return int(self.simulator.control("GET", "health")["accepted"])

    def fault(self, **spec: Any) -> int:
        """Put a fault of the simulator in force; its id."""
        return int(self.simulator.control("POST", "faults", spec)["id"])

    def heal(self) -> None:
        """No faults of the simulator any more."""
        self.simulator.control("DELETE", "faults")

    def link(self, state: str, name: str = "drill", **more: Any) -> None:
        """Set an instance's connection to WhatsApp."""
        self.simulator.control("POST", f"instances/{name}/state", {"state": state, **more})

    def asked(self, endpoint: str) -> int:
        """How often an endpoint of the simulator was called."""
        counts = self.simulator.control("GET", "requests")["requests"]
        return sum(int(count) for name, count in counts.items() if endpoint in name)


def _bucket_settings(port: int) -> dict[str, str]:
    return {
        "MEDIA_S3_BUCKET": BUCKET,
        "MEDIA_S3_ENDPOINT": f"http://127.0.0.1:{port}",
        "MEDIA_S3_REGION": KEYS["region_name"],
        "MEDIA_S3_ACCESS_KEY": KEYS["aws_access_key_id"],
        "MEDIA_S3_SECRET_KEY": KEYS["aws_secret_access_key"],
        "MEDIA_S3_ADDRESSING": "path",
    }


def phones(seed: int, count: int) -> list[str]:
    """Different Brazilian mobile numbers."""
    draw = random.Random(f"phones {seed}")
    return [f"55119{digits:08d}" for digits in draw.sample(range(60_000_000, 99_999_999), count)]


def clean_environment() -> None:
    """Forget what the shell exports about a system of its own: a drill must never touch it."""
    for name in list(os.environ):
        if name.startswith("CHAT_") or name.endswith(("REDIS_URL", "DATABASE_URL")):
            del os.environ[name]
    for name in ("DEBUG", "RABBITMQ_URL", "PUBLIC_URL", "DJANGO_SETTINGS_MODULE", "DEMO_LOGIN"):
        os.environ.pop(name, None)


def answers_within(url: str, seconds: float) -> bool:
    """Whether a GET answers 2xx within this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if loopback.answers(url):
            return True
        time.sleep(0.05)
    return False
