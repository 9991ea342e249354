"""The servers the other tests stand on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import aio_pika
import psycopg
import pytest
import redis

from testing import servers
from testing.process import Process, ServerError
from testing.rabbitmq import RabbitServer
from testing.waiting import eventually


def _given(make: AbstractContextManager[servers.RedisServer]) -> None:
    with make as server, server.client() as client:
        client.xadd("stream", {"a": "1"})
        server.kill()
        assert server.returncode == -signal.SIGKILL
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.xlen("stream") == 1, "appendonly: what was acknowledged is there after kill -9"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert not server.running
    assert not server.directory.exists()


def test_valkey_keeps_its_data_through_a_kill() -> None:
    _given(servers.valkey(appendfsync="always"))


def test_redis_keeps_its_data_through_a_kill() -> None:
    try:
        _given(servers.redis_server(appendfsync="always"))
    except servers.ServerMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def test_a_paused_server_does_not_answer_until_resumed() -> None:
    with servers.valkey() as server, server.client(socket_timeout=0.2) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        eventually(server.ready)


def test_postgresql_restarts_after_stop_and_kill() -> None:
    try:
        with servers.postgresql() as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("CREATE TABLE kept (id int)")
                server.restart()
            server.kill()
            server.start()
            with psycopg.connect(server.url) as connection:
                assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
                assert connection.execute("SHOW max_connections").fetchone() == ("200",)
        assert not server.running
    except servers.ServerMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def test_a_server_that_ends_says_its_last_lines(tmp_path: Path) -> None:
    child = _Never(
        "broken", [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], log=tmp_path / "log"
    )
    with pytest.raises(ServerError, match=r"broken ended with code 3.*\nno such luck"):
        child.start()


def test_a_server_that_hangs_is_killed_at_the_deadline(tmp_path: Path) -> None:
    child = _Never("hanging", [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log")
    with pytest.raises(ServerError, match=r"did not get ready within 0\.2 s"):
        child.start(deadline=0.2)
    assert not child.running


def test_stop_kills_a_child_that_ignores_sigterm(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n"
        "time.sleep(60)"
    )
    child = Process("stubborn", [sys.executable, "-c", code], log=tmp_path / "log", grace=0.2)
    child.start().wait_for_line("up")
    child.stop()
    assert child.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_no_server_outlives_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from testing import servers\n"
        "with servers.valkey() as server: print(server.pid, flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": str(servers.BACKEND), "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    eventually(lambda: not _exists(pid), what="the server's end")


def _exists(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


class _Never(Process):
    """A server that is never ready."""

    def ready(self) -> bool:
        return False


def test_child_env_names_the_database_of_this_test(child_env: Mapping[str, str]) -> None:
    from apps.tenancy.models import Tenant

    Tenant.objects.create(name="Seen from outside")
    seen = servers.manage(
        "shell",
        "--no-imports",
        "-c",
        "from apps.tenancy.models import Tenant as T; print(T.objects.count())",
        env=child_env,
    )
    assert seen.strip() == "1"


@pytest.mark.slow
def test_rabbitmq_answers_again_after_a_kill(rabbitmq_server: RabbitServer) -> None:
    async def declare() -> None:
        async with await aio_pika.connect(rabbitmq_server.url) as connection, connection.channel() as channel:
            await channel.declare_queue("kept", durable=True)

    asyncio.run(declare())
    rabbitmq_server.kill()
    rabbitmq_server.start(60)
    asyncio.run(declare())
