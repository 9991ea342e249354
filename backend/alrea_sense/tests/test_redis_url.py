"""A database is chosen by parsing the URL; passwords, sockets and options survive."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from alrea_sense.redis_url import address, with_database

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


@pytest.mark.parametrize(("url", "expected"), CASES)
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
    ],
)
def test_an_address_holds_no_credential(url: str, expected: str) -> None:
    assert address(url) == expected
