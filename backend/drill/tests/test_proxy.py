"""The proxy misbehaves as told, and only then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
import redis

from drill.proxy import Proxy


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(int(redis_url.rpartition(":")[2].partition("/")[0]), seed=1) as made:
        yield made


@contextlib.contextmanager
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    made = redis.Redis(port=proxy.port, socket_timeout=1, retry=retry, single_connection_client=True)
    with contextlib.closing(made):
        yield made


def test_it_forwards(proxy: Proxy) -> None:
    with client(proxy) as one:
        one.set("a", "x" * 1_000_000)
        assert len(one.get("a") or b"") == 1_000_000


def test_a_swallowed_answer_was_done_all_the_same(proxy: Proxy, redis_client: redis.Redis) -> None:
    proxy.swallow(1.0, "INCR")
    with client(proxy) as one, pytest.raises(redis.RedisError):
        one.incr("n")
    assert redis_client.get("n") == b"1"
    assert proxy.swallowed == 1


def test_a_frozen_connection_hangs_and_a_new_one_works(proxy: Proxy) -> None:
    with client(proxy) as old:
        old.ping()
        proxy.freeze()
        with pytest.raises(redis.TimeoutError):
            old.ping()
        with client(proxy) as new:
            assert new.ping()


def test_refused_connections_and_behaving_again(proxy: Proxy) -> None:
    proxy.refuse(True)
    with pytest.raises(redis.RedisError), client(proxy) as one:
        one.ping()
    proxy.behave()
    with client(proxy) as one:
        assert one.ping()


def test_answers_come_late(proxy: Proxy) -> None:
    with client(proxy) as one:
        one.ping()
        proxy.delay(0.3)
        began = time.monotonic()
        one.ping()
        assert time.monotonic() - began >= 0.3
