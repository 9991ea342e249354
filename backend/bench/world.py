"""The servers of one run, each in its place: workers on one core, everything they talk to on the other."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import redis
from testing import http, servers
from testing.ports import spare_port
from testing.process import Process, ServerError, ServerMissing

from bench import machine

WORKER_CORE: Final = 0
SERVER_CORE: Final = 1
# Its deployments hold a few thousand rows hot; the defaults of 128 MB would do for all but the full database.
DURABLE: Final[dict[str, Any]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
}


class Program(Process):
    """A program that prints JSON lines; the last one is its result."""

    def __init__(
        self, name: str, args: Sequence[str | Path], directory: Path, env: dict[str, str], core: int | None
    ) -> None:
        log = directory / f"{name}-{secrets.token_hex(4)}.log"
        super().__init__(name, [*machine.pinned(core), *args], log=log, cwd=servers.BACKEND, env=env)

    def result(self, deadline: float) -> dict[str, Any]:
        """Wait for its end and read its last line; raises ServerError when it failed."""
        try:
            code = self.wait(deadline)
        finally:
            self.kill()
        found = [line for line in self.output().splitlines() if line.startswith("{")]
        if code or not found:
            raise ServerError(f"{self.name} ended with code {code}:\n{self.tail(8)}")
        told: dict[str, Any] = json.loads(found[-1])
        return told


class Provider(Process):
    """The stand-in for Evolution."""

    def __init__(self, directory: Path) -> None:
        port = spare_port()
        self.url = f"http://127.0.0.1:{port}"
        args = [*machine.pinned(SERVER_CORE), sys.executable, "-m", "bench.provider", "--port", str(port)]
        super().__init__(
            "provider", args, log=directory / "provider.log", cwd=servers.BACKEND, env=servers.environment()
        )

    def ready(self) -> bool:
        return http.answers(self.url + "/_bench/report")

    def reset(self) -> None:
        """Forget what arrived."""
        http.call("POST", self.url + "/_bench/reset")

    def report(self, *, full: bool = False) -> dict[str, Any]:
        """What arrived since: see `bench.provider.Arrivals`."""
        told: dict[str, Any] = http.call("GET", f"{self.url}/_bench/report{'?full' * full}")
        return told


@dataclass
class Database:
    """A migrated database with a tenant, its number and conversations."""

    url: str
    tenant: dict[str, Any] = field(default_factory=dict)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()


class World:
    """PostgreSQL, Redis and the provider; databases and programs are made from it."""

    def __init__(self, stack: contextlib.ExitStack, directory: Path) -> None:
        self.directory, self._stack = directory, stack
        self.redis = stack.enter_context(_redis())
        self.postgres = stack.enter_context(servers.postgresql(**DURABLE))
        self.provider = stack.enter_context(Provider(directory))
        for server in (self.redis, self.postgres):
            machine.pin(server.pid, SERVER_CORE)
        servers.manage("migrate", "--verbosity", "0", env=self.settings(Database(self.postgres.url)))

    def database(self, name: str, conversations: int) -> Database:
        """A new database with a tenant of so many conversations."""
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE alrea'.encode())
        made = Database(self.postgres.url_of(name))
        made.tenant = self.seed(
            made, do="tenant", evolution_url=self.provider.url, conversations=conversations
        )
        return made

    def settings(self, database: Database, **more: str) -> dict[str, str]:
        """The environment of our programs: as in production, but for the pace and the log's place."""
        return {
            "ALREA_VAR_DIR": str(self.directory),
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": database.url,
            "SECRET_KEY": "only-for-the-bench-" + "x" * 30,
            "RABBITMQ_URL": "",
            "CHAT_PACE_RATE": "0",
            "CHAT_SEND_CONCURRENCY": "256",
            "ALLOWED_HOSTS": "127.0.0.1",
            **more,
        }

    def seed(self, database: Database, **asked: Any) -> dict[str, Any]:
        """Run `bench.inside.seed`."""
        printed = servers.run_python(
            "-m",
            "bench.inside.seed",
            json.dumps(asked),
            what="seed",
            env=self.settings(database),
            timeout=600,
        )
        told: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return told

    def streams(self, db: int = 3) -> redis.Redis:
        """A client of the streams' database."""
        return redis.Redis(port=self.redis.port, db=db)

    def flush(self) -> None:
        """An empty Redis."""
        with self.redis.client() as client:
            client.flushall()

    def inside(
        self, name: str, *args: str, database: Database, core: int | None = WORKER_CORE, **more: str
    ) -> Program:
        """One of our programs inside Django, not started yet."""
        command = [sys.executable, "-m", f"bench.inside.{name}", *args]
        return Program(
            name, command, self.directory, servers.environment(self.settings(database, **more)), core
        )

    def alone(self, python: str | Path, program: Path, do: str, core: int | None, **given: Any) -> Program:
        """The yardstick or a peer, not started yet."""
        args = [python, program, do, json.dumps(given)]
        return Program(program.stem, args, self.directory, servers.environment(), core)


def _redis() -> contextlib.AbstractContextManager[servers.RedisServer]:
    try:
        servers.redis_binary()
    except ServerMissing:
        return servers.valkey()
    return servers.redis_server()


def wait_for(what: str, holds: Any, seconds: float, pause: float = 0.1) -> None:
    """Wait until `holds()`; raises ServerError after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise ServerError(f"{what} did not come within {seconds:g} s")
        time.sleep(pause)


@contextlib.contextmanager
def worker(
    world: World, database: Database, core: int | None = WORKER_CORE, **more: str
) -> Iterator[Process]:
    """One `start_chat_stream_worker --send-workers 1`, bound to a core."""
    one = servers.StreamWorker(
        world.directory, world.settings(database, **more), send_workers=1, mark_workers=0
    )
    one.log = world.directory / f"worker-{secrets.token_hex(4)}.log"
    one.args = [*machine.pinned(core), *one.args]
    with one:
        yield one
