"""A sentinel URL: the clients find the master, and after a failover the next call finds the new one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import runpy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from alrea_sense import redis_url
from alrea_sense.redis_url import with_database
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from django.core.cache import CacheHandler
from testing.ports import spare_port
from testing.process import Process
from testing.servers import RedisServer, directory_for, valkey_binary
from testing.waiting import eventually, eventually_async

from apps.chat import redis_queue
from apps.chat import redis_streams as streams
from apps.chat.errors import QueueAway
from apps.chat.realtime import broadcast
from apps.chat.realtime.hub import Hub
from apps.chat.redis_clients import TROUBLE, async_client, close_async_clients, sync_client
from apps.chat.stream_readers import StreamReader

PASSWORD, SENTINEL_PASSWORD = "of/the:servers", "of the sentinel"
FAILED_OVER_WITHIN = 20


class Watch(Process):
    """One sentinel over a master; it decides alone, half a second after the master fell silent."""

    def __init__(self, directory: Path, master: RedisServer) -> None:
        self.port = spare_port()
        config = directory / "sentinel.conf"
        config.write_text(
            f'bind 127.0.0.1\nport {self.port}\ndir "{directory}"\nrequirepass "{SENTINEL_PASSWORD}"\n'
            f"sentinel monitor chat 127.0.0.1 {master.port} 1\n"
            f'sentinel auth-pass chat "{PASSWORD}"\n'
            "sentinel down-after-milliseconds chat 500\n"
            "sentinel failover-timeout chat 60000\n"
        )
        args = [valkey_binary(), config, "--sentinel"]
        super().__init__("sentinel", args, log=directory / "sentinel.log", cwd=directory)

    def ask(self, *words: str) -> Any:
        """Its answer to SENTINEL `words`."""
        with redis.Redis(port=self.port, password=SENTINEL_PASSWORD, socket_timeout=1, protocol=2) as client:
            return client.execute_command("SENTINEL " + words[0], *words[1:])

    def ready(self) -> bool:
        """It knows the replica well enough to put it in the master's place."""
        try:
            return [one["master-link-status"] for one in self.ask("SLAVES", "chat")] == ["ok"]
        except redis.RedisError:
            return False


class Deployment:
    """A master, its replica and a sentinel."""

    def __init__(self, master: RedisServer, replica: RedisServer, watch: Watch) -> None:
        self.master, self.replica, self.watch = master, replica, watch
        self.url = (
            f"sentinel://:of%2Fthe%3Aservers@127.0.0.1:1,127.0.0.1:{watch.port}/chat"
            "?sentinel_password=of%20the%20sentinel"
        )

    def fail_over(self, how: str) -> None:
        """The master "dies", "hangs" or "steps down"; returns once its replica has its place."""
        if how == "dies":
            self.master.kill()
        elif how == "hangs":
            self.master.pause()
        else:
            self._swap()
        eventually(self._failed_over, FAILED_OVER_WITHIN)

    def _swap(self) -> None:
        """By hand, as the old master then keeps its connections and answers READONLY.

        SENTINEL FAILOVER leaves two masters for ten seconds, and its COORDINATED form now and then as well.
        """
        self.watch.ask("REMOVE", "chat")
        with self.replica.client() as new, self.master.client() as old:
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", self.replica.port)
        self.watch.ask("MONITOR", "chat", "127.0.0.1", str(self.replica.port), "1")
        self.watch.ask("SET", "chat", "auth-pass", PASSWORD)

    def _failed_over(self) -> bool:
        state = self.watch.ask("MASTERS")["chat"]
        return state["port"] == self.replica.port and "failover_in_progress" not in state["flags"]


def _server(path: Path, name: str, **options: str) -> RedisServer:
    directory = path / name
    directory.mkdir()
    secrets = {"requirepass": PASSWORD, "masterauth": PASSWORD, "shutdown-timeout": "0"}
    server = RedisServer(valkey_binary(), directory, **secrets, **options)
    server.url = f"redis://:of%2Fthe%3Aservers@127.0.0.1:{server.port}/0"
    return server


def _follows(replica: RedisServer, master: RedisServer) -> bool:
    with replica.client() as client:
        if client.info("replication")["role"] == "master":
            client.replicaof("127.0.0.1", master.port)
        return bool(client.info("replication").get("master_link_status") == "up")


@pytest.fixture
def deployment(redis_url: str) -> Iterator[Deployment]:
    with _deployed() as deployed:
        yield deployed


@pytest.fixture(scope="module")
def whole(redis_url: str) -> Iterator[Deployment]:
    """One for all tests that break nothing."""
    with _deployed() as deployed:
        yield deployed


@contextlib.contextmanager
def _deployed() -> Iterator[Deployment]:
    with (
        directory_for("sentinel") as path,
        _server(path, "one", repl_diskless_sync_delay="0") as master,
        _server(path, "two") as replica,
    ):
        eventually(lambda: _follows(replica, master), 10)
        with Watch(path, master) as watch:
            yield Deployment(master, replica, watch)


@pytest.fixture
async def chat(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    """The chat's settings name a deployment that may be broken."""
    _name_it(deployment.url, monkeypatch)
    yield deployment
    await close_async_clients()


def _name_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CHANNELS_REDIS_URL", with_database(url, 1))
    monkeypatch.setattr(settings, "CHAT_QUEUE_REDIS_URL", with_database(url, 2))
    monkeypatch.setattr(settings, "CHAT_STREAM_REDIS_URL", with_database(url, 3))
    monkeypatch.setattr(settings, "CHAT_STREAM_BLOCK_TIMEOUT_MS", 2000)


async def insist(call: Callable[[], Any]) -> Any:
    """What callers do: again, a little later, while the queue is away."""
    end = time.monotonic() + 5
    while True:
        try:
            return await asyncio.to_thread(call)
        except QueueAway:
            assert time.monotonic() < end, "the new master was not found"
            await asyncio.sleep(0.1)


async def receive(reader: StreamReader) -> str:
    """The message of the next wake-up; acknowledged."""
    async with asyncio.timeout(FAILED_OVER_WITHIN + 5):
        while not (entries := await reader.read(1)):
            pass
    await eventually_async(lambda: _survives(streams.acknowledge(reader.stream, [entries[0].id])))
    return str(streams.decode_wake_up(entries[0].payload).message_id)


async def test_each_use_has_its_database_on_the_master(
    whole: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    _name_it(whole.url, monkeypatch)
    await asyncio.to_thread(streams.enqueue_send_message, uuid4())
    await asyncio.to_thread(streams.enqueue_mark_as_read, uuid4(), uuid4())
    await asyncio.to_thread(redis_queue.enqueue_message, redis_queue.REDIS_QUEUE_SEND_MESSAGE, {"n": 1})
    with whole.master.client() as client:
        keys = {number: _keys(client, number) for number in range(5)}
    assert keys == {
        0: set(),
        1: set(),
        2: {b"chat:queue:send_message"},
        3: {b"chat:stream:send_message", b"chat:stream:mark_as_read"},
        4: set(),
    }


def _keys(client: redis.Redis, database: int) -> set[bytes]:
    client.select(database)
    return set(client.keys())


@pytest.mark.parametrize("how", ["dies", "steps down", pytest.param("hangs", marks=pytest.mark.slow)])
async def test_streams_and_lists_follow_a_failover(chat: Deployment, how: str) -> None:
    await streams.ensure_stream_setup()
    reader = StreamReader(settings.CHAT_STREAM_SEND_NAME, "reader")
    first, second = str(uuid4()), str(uuid4())
    await asyncio.to_thread(streams.enqueue_send_message, first)
    assert await receive(reader) == first
    await asyncio.to_thread(redis_queue.enqueue_message, redis_queue.REDIS_QUEUE_SEND_MESSAGE, {"n": 1})
    waiting = asyncio.create_task(receive(reader))

    await asyncio.to_thread(chat.fail_over, how)

    await insist(lambda: streams.enqueue_send_message(second))
    assert await waiting == second
    await streams.enqueue_send_message_async(first)
    assert await receive(reader) == first
    assert await insist(lambda: redis_queue.enqueue_message(redis_queue.REDIS_QUEUE_SEND_MESSAGE, {"n": 2}))
    assert await insist(lambda: redis_queue.dequeue_message(redis_queue.REDIS_QUEUE_SEND_MESSAGE)) == {"n": 1}
    assert streams.get_stream_metrics()["send_message_stream"]["length"] == 0
    await reader.leave()


class Ear:
    """A socket that remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.renewed = 0

    def offer(self, seq: int, text: str) -> None:
        self.heard.append(json.loads(text)["type"])

    def renew(self, seq: int) -> None:
        self.renewed += 1


async def test_events_follow_a_failover(chat: Deployment) -> None:
    tenant, ear, hub = str(uuid4()), Ear(), Hub()
    await hub.attach(tenant, ear)
    broadcast.publish(tenant, {"type": "before"})
    await eventually_async(lambda: _true("before" in ear.heard))

    await asyncio.to_thread(chat.fail_over, "dies")

    end = time.monotonic() + 10
    while not ear.renewed and "after" not in ear.heard:
        assert time.monotonic() < end
        broadcast.publish(tenant, {"type": "after"})
        await asyncio.sleep(0.2)
    ear.heard.clear()
    broadcast.publish(tenant, {"type": "later"})
    await eventually_async(lambda: _true("later" in ear.heard), 10)
    await hub.detach(tenant, ear)
    assert await asyncio.to_thread(broadcast.flush, 5)


async def _true(value: bool) -> bool:
    return value


@pytest.mark.slow
async def test_cache_and_channel_layer_follow_a_failover(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", deployment.url)
    made = runpy.run_path(redis_url.__file__.replace("redis_url", "settings"))
    cache = CacheHandler(made["CACHES"])["default"]
    layer = RedisPubSubChannelLayer(**made["CHANNEL_LAYERS"]["default"]["CONFIG"])
    await layer.group_add("room", channel := await layer.new_channel())
    await layer.group_send("room", {"type": "before"})
    async with asyncio.timeout(5):
        assert await layer.receive(channel) == {"type": "before"}
    await asyncio.to_thread(cache.set, "name", "before")

    await asyncio.to_thread(deployment.fail_over, "dies")

    await eventually_async(lambda: _survives(cache.aset("name", "after")))
    assert await cache.aget("name") == "after"
    hearing = asyncio.create_task(layer.receive(channel))
    await eventually_async(lambda: _survives(layer.group_send("room", {"type": "after"}), hearing), 10)
    assert hearing.result() == {"type": "after"}
    await layer.flush()


async def _survives(call: Awaitable[Any], effect: asyncio.Task[Any] | None = None) -> bool:
    try:
        await call
    except TROUBLE:
        return False
    return effect is None or effect.done()


async def test_no_sentinel_is_forgotten_while_one_is_away(whole: Deployment) -> None:
    """redis-py's own list loses one when two callers move the answering sentinel to its front at once."""
    client = async_client(whole.url)
    await asyncio.gather(*(client.ping() for _ in range(10)))
    manager = client.connection_pool.sentinel_manager  # type: ignore[attr-defined]
    ports = sorted(one.connection_pool.connection_kwargs["port"] for one in manager.sentinels)
    assert ports == [1, whole.watch.port]
    await close_async_clients()


async def test_without_a_sentinel_a_call_fails_at_once(chat: Deployment) -> None:
    chat.watch.kill()
    chat.master.kill()
    began = time.monotonic()
    with pytest.raises(TROUBLE):
        await asyncio.to_thread(sync_client(chat.url).ping)
    with pytest.raises(TROUBLE):
        await async_client(chat.url).ping()
    assert time.monotonic() - began < 2
