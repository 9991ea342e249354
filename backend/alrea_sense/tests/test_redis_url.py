"""A database is chosen by parsing the URL; passwords, sockets, sentinels and options survive."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from alrea_sense.redis_url import address, channel_host, checked, sentinels, with_database

CASES = [
    ("redis://127.0.0.1", "redis://127.0.0.1/2"),
    ("redis://127.0.0.1/", "redis://127.0.0.1/2"),
    ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/2"),
    ("redis://:p%2F0@host:6379/0", "redis://:p%2F0@host:6379/2"),
    ("redis://user:pass@host/15", "redis://user:pass@host/2"),
    ("rediss://host:6380/0?ssl_cert_reqs=none", "rediss://host:6380/2?ssl_cert_reqs=none"),
    ("redis://host?db=7&protocol=3", "redis://host/2?protocol=3"),
    ("redis://[::1]:6379/0", "redis://[::1]:6379/2"),
    ("unix:///run/redis.sock", "unix:///run/redis.sock?db=2"),
    ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=2"),
    ("unix://user:pass@/run/redis.sock", "unix://user:pass@/run/redis.sock?db=2"),
]
SENTINEL_CASES = [
    ("sentinel://one/chat", "sentinel://one/chat/2"),
    ("sentinel://one/chat/", "sentinel://one/chat/2"),
    ("sentinel://one:26379,two:26380/chat/0", "sentinel://one:26379,two:26380/chat/2"),
    ("sentinels://[::1]:1,[::2]/my.chat-1/15", "sentinels://[::1]:1,[::2]/my.chat-1/2"),
    ("sentinel://user:p%2F0@one,two/chat/0", "sentinel://user:p%2F0@one,two/chat/2"),
    ("sentinel://:p@one/0/0?sentinel_password=x%2Fy&db=7", "sentinel://:p@one/0/2?sentinel_password=x%2Fy"),
]


@pytest.mark.parametrize(("url", "expected"), CASES + SENTINEL_CASES)
def test_the_database_is_replaced_and_nothing_else(url: str, expected: str) -> None:
    assert with_database(url, 2) == expected


@pytest.mark.parametrize(("url", "expected"), CASES)
def test_redis_py_reads_what_comes_out(url: str, expected: str) -> None:
    asked = redis.ConnectionPool.from_url(url).connection_kwargs
    got = redis.ConnectionPool.from_url(with_database(url, 2)).connection_kwargs
    assert got.pop("db") == 2
    for name in ("host", "port", "path", "username", "password", "ssl_cert_reqs", "protocol"):
        assert got.get(name) == asked.get(name)


@given(password=st.text(min_size=1, max_size=30), database=st.integers(0, 15))
def test_any_password_survives(password: str, database: int) -> None:
    url = with_database(f"redis://:{quote(password, safe='')}@host:6379/0", database)
    read = redis.ConnectionPool.from_url(url).connection_kwargs
    assert (read["password"], read["host"], read["db"]) == (password, "host", database)


@given(password=st.text(min_size=1, max_size=30), other=st.text(min_size=1, max_size=30))
def test_any_password_survives_beside_sentinels(password: str, other: str) -> None:
    query = urlencode({"sentinel_password": other})
    url = with_database(f"sentinel://:{quote(password, safe='')}@one,two:2/chat?{query}", 5)
    read = sentinels(url)
    assert read is not None
    assert read.server == {"password": password, "db": 5}
    assert read.sentinel == {"password": other}
    assert (read.hosts, read.service) == ((("one", 26379), ("two", 2)), "chat")


def test_tls_and_options_of_a_sentinel_url() -> None:
    read = sentinels(
        "sentinels://ana:pass@one/chat?sentinel_username=bob&ssl_cert_reqs=none&socket_timeout=3&client_name=x"
    )
    assert read is not None
    tls = {"ssl": True, "ssl_cert_reqs": "none"}
    options = {"socket_timeout": 3.0, "client_name": "x", "username": "ana", "password": "pass", "db": 0}
    assert read.server == tls | options
    assert read.sentinel == tls | {"username": "bob"}
    assert "pass" not in repr(read)


def test_the_channel_layer_gets_the_sentinels() -> None:
    assert channel_host("redis://host/1") == "redis://host/1"
    entry = channel_host("sentinel://:pass@one,two/chat/1?sentinel_password=x")
    assert isinstance(entry, dict)
    asking = entry.pop("sentinel_kwargs")
    assert asking["password"] == "x"
    assert entry == {
        "master_name": "chat",
        "sentinels": [("one", 26379), ("two", 26379)],
        "db": 1,
        "password": "pass",
    }


MALFORMED = [
    "sentinel://",
    "sentinel://one",
    "sentinel://one/",
    "sentinel:///chat",
    "sentinel://one/chat/x",
    "sentinel://one,/chat",
    "sentinel://one:port/chat",
    "sentinel://one:0/chat",
    "sentinel://one:/chat",
    "sentinel://one/chat/0/1",
    "sentinel://one/ch at",
    "sentinel://one/chat#0",
    "sentinel://[::1/chat",
    "sentinel://one/chat?socket_timeout=soon",
    "sentinel://one/chat?sentinel_password=a@b",
    "redis://a,b/0",
    "sentinel://:se/cret@one/chat",
    "sentinel://:se@cret@one/chat",
    "sentinel://:se#cret@one/chat",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_sentinel_url_is_refused_by_name_and_not_repeated(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"CHAT_X_URL must look like .* or sentinel://") as refused:
        checked(url, "CHAT_X_URL")
    assert "cret" not in str(refused.value)
    assert sentinels(url) is None
    assert "cret" not in address(url)


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://host/0"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must look like redis://"):
        with_database(url, 2)


@pytest.mark.parametrize("url", ["redis:/0", "redis:///0", "unix://"])
def test_other_shapes_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must look like redis://"):
        with_database(url, 2)


@pytest.mark.parametrize(
    "url", ["redis://:se/cret@host:6379/0", "redis://:se#cret@host/0", "redis://host:port/0"]
)
def test_a_password_that_is_not_encoded_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        with_database(url, 2)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://user:secret@host:6379/0", "host:6379"),
        ("redis://:se/cret@host:6379/0", "?"),
        ("unix://:secret@/run/redis.sock?db=1", "/run/redis.sock"),
        ("rediss://[::1]:6380/1", "[::1]:6380"),
        ("sentinel://user:secret@one:1,two/chat/3?sentinel_password=secret", "one:1,two/chat"),
        ("sentinel://:se/cret@one/chat", "?"),
    ],
)
def test_an_address_holds_no_credential(url: str, expected: str) -> None:
    assert address(url) == expected


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster"])
def test_a_cluster_is_refused_with_a_reason(scheme: str) -> None:
    url = f"{scheme}://:secret@one:6379,two:6379/0"
    with pytest.raises(
        ImproperlyConfigured, match="REDIS_URL names a Redis Cluster, which is not"
    ) as refused:
        with_database(url, 2)
    with pytest.raises(ImproperlyConfigured, match="CHAT_X_URL names a Redis Cluster, which is not"):
        checked(url, "CHAT_X_URL")
    assert "secret" not in str(refused.value)
    assert address(url) == "?"
