"""Every test's surroundings: a private Redis, a private database, a directory that goes away.

Redis and PostgreSQL are started here, before Django reads its settings, so that a plain `pytest` finds them.

    REDIS_TEST_SERVER   valkey (default: from the wheel) or redis (the system's redis-server)
    TEST_REDIS_URL      use this server instead; it is FLUSHED before each test
    TEST_DATABASE       sqlite (default) or postgresql (a private one is started)
    TEST_DATABASE_URL   use this server instead; Django makes a database test_… in it
    CI                  true: a missing server fails the run; otherwise the tests that need it are skipped

REDIS_URL and DATABASE_URL of the shell are ignored: they may name data that somebody needs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import redis
from testing import servers
from testing.rabbitmq import RabbitServer, rabbitmq

SETTINGS = "alrea_sense.settings"
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
CLOSED_PORT = "redis://127.0.0.1:1/0"

_resources = contextlib.ExitStack()
_missing: dict[str, str] = {}


def _start_redis() -> str:
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        if "PYTEST_XDIST_WORKER" in os.environ:
            raise pytest.UsageError("TEST_REDIS_URL is one server, flushed before each test: not with -n.")
        return given
    wanted = os.environ.get("REDIS_TEST_SERVER", "valkey")
    starters = {"valkey": servers.valkey, "redis": servers.redis_server}
    if wanted not in starters:
        raise pytest.UsageError(f"REDIS_TEST_SERVER must be valkey or redis, not {wanted!r}.")
    try:
        return _resources.enter_context(starters[wanted]()).url
    except servers.ServerMissing as error:
        _missing["redis"] = str(error)
        return CLOSED_PORT


def _start_database() -> str:
    """A database URL; empty for SQLite in the run's own directory."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return given
    wanted = os.environ.get("TEST_DATABASE", "sqlite")
    if wanted not in {"sqlite", "postgresql"}:
        raise pytest.UsageError(f"TEST_DATABASE must be sqlite or postgresql, not {wanted!r}.")
    if wanted == "sqlite":
        return ""
    try:
        return _resources.enter_context(servers.postgresql()).url
    except servers.ServerMissing as error:
        raise pytest.UsageError(f"TEST_DATABASE=postgresql: {error}") from None


def _prepare_environment() -> None:
    """The environment Django's settings are read from: the tests' own, whatever the shell exports."""
    from django.conf import settings

    if settings.configured:
        raise pytest.UsageError(
            "DJANGO_SETTINGS_MODULE (or --ds) made Django load before the tests' Redis was there: unset it."
        )
    directory = Path(tempfile.mkdtemp(prefix="alrea-tests-"))
    _resources.callback(shutil.rmtree, directory, ignore_errors=True)
    (directory / "static").mkdir()
    for name in [name for name in os.environ if name.startswith("CHAT_") or name.endswith("REDIS_URL")]:
        if name != "TEST_REDIS_URL":
            del os.environ[name]
    os.environ.update(
        ALREA_VAR_DIR=str(directory),
        REDIS_URL=_start_redis(),
        DATABASE_URL=_start_database(),
        SECRET_KEY="for-tests-only-" + "0123456789abcdef" * 2,
        DJANGO_SETTINGS_MODULE=SETTINGS,
    )
    for name in ("DEBUG", "RABBITMQ_URL", "PUBLIC_URL"):
        os.environ.pop(name, None)


_prepare_environment()

import django  # noqa: E402
from django.conf import settings  # noqa: E402

django.setup()
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Workers start servers of their own: they must not load the settings of this process first."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_report_header() -> list[str]:
    database = str(settings.DATABASES["default"]["ENGINE"]).rpartition(".")[2]
    if "redis" in _missing:
        return [
            f"database: {database}",
            f"redis: MISSING, tests that need it are skipped: {_missing['redis']}",
        ]
    return [f"database: {database}", f"redis: {_describe_redis()}"]


def _describe_redis() -> str:
    with contextlib.closing(redis.Redis.from_url(settings.REDIS_URL)) as client:
        info = client.info("server")
    if "valkey_version" in info:
        return f"valkey {info['valkey_version']}"
    return f"redis {info['redis_version']}"


def pytest_unconfigure() -> None:
    _resources.close()


# --- fixtures -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The URL of the tests' Redis, database 0; without one: a skip on a laptop, a failure in CI."""
    if "redis" in _missing:
        (pytest.fail if IN_CI else pytest.skip)(_missing["redis"])
    return str(settings.REDIS_URL)


@pytest.fixture(scope="session")
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A synchronous client of database 0, for looking and for breaking things; one for the whole run."""
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty_redis(request: pytest.FixtureRequest) -> None:
    """Each test finds Redis empty, in all databases."""
    if "redis" not in _missing:
        request.getfixturevalue("redis_client").flushall()
    elif request.node.get_closest_marker("django_db"):
        request.getfixturevalue("redis_url")


@pytest.fixture
def child_env(transactional_db: None, redis_url: str) -> Mapping[str, str]:
    """What a child (asgi_server, stream_worker, manage) needs to see this test's database and Redis."""
    return {"DATABASE_URL": database_url(), "REDIS_URL": redis_url}


def database_url() -> str:
    """The URL of the test database in use."""
    from django.db import connection

    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    account = quote(given["USER"] or "") + (
        f":{quote(given['PASSWORD'], safe='')}" if given["PASSWORD"] else ""
    )
    options = {key: value for key, value in given["OPTIONS"].items() if key != "pool"}
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{account}@{given['HOST']}:{given['PORT'] or 5432}/{given['NAME']}{query}"


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitServer]:
    """A RabbitMQ shared by the run; without one: a skip on a laptop, a failure in CI."""
    try:
        with rabbitmq() as server:
            yield server
    except servers.ServerMissing as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))


@pytest.fixture
def eventually() -> Callable[..., None]:
    """`eventually(condition, within=5)`: waits for a condition with a deadline, instead of sleeping."""
    from testing.waiting import eventually

    return eventually
