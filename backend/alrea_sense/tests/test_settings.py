"""What the settings make of an environment: the embedded default, production, and what they refuse."""

from __future__ import annotations

import os
import runpy
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

SETTINGS = Path(__file__).resolve().parents[1] / "settings.py"
KEY = "k" * 40
POSTGRESQL = "postgresql://user:hunter2@db:5432/alrea"
Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Runs the settings with only the given variables set."""

    def run(**variables: str) -> dict[str, Any]:
        with monkeypatch.context() as patched:
            for name in set(os.environ) - {"PATH", "HOME", "TMPDIR", "LANG"}:
                patched.delenv(name)
            patched.setenv("ALREA_VAR_DIR", str(tmp_path))
            for name, value in variables.items():
                patched.setenv(name, value)
            return runpy.run_path(str(SETTINGS))

    return run


def test_with_nothing_set_it_runs_embedded(load: Load, tmp_path: Path) -> None:
    settings = load()
    database = settings["DATABASES"]["default"]
    assert settings["EMBEDDED"] is True
    assert settings["DEBUG"] is False
    assert Path(database["NAME"]) == tmp_path / "alrea.sqlite3"
    assert "synchronous=FULL" in database["OPTIONS"]["init_command"]
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_the_embedded_key_is_made_once_and_private(load: Load, tmp_path: Path) -> None:
    first, second = load()["SECRET_KEY"], load()["SECRET_KEY"]
    assert first == second
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_connections_to_postgresql_last(load: Load) -> None:
    settings = load(DATABASE_URL=POSTGRESQL, SECRET_KEY=KEY)
    assert settings["EMBEDDED"] is False
    assert settings["DATABASES"]["default"]["CONN_MAX_AGE"] is None


def test_each_use_of_redis_has_its_own_database(load: Load) -> None:
    settings = load(REDIS_URL="redis://:p%2F0@redis:6379")
    numbers = [
        settings[name].rsplit("/", 1)[1]
        for name in (
            *("CACHE_REDIS_URL", "CHANNELS_REDIS_URL", "CHAT_QUEUE_REDIS_URL"),
            *("CHAT_STREAM_REDIS_URL", "CHAT_PACE_REDIS_URL"),
        )
    ]
    assert numbers == ["0", "1", "2", "3", "4"]


def test_one_use_can_have_a_server_of_its_own(load: Load) -> None:
    settings = load(CHAT_STREAM_REDIS_URL="redis://streams:6379/9")
    assert settings["CHAT_STREAM_REDIS_URL"] == "redis://streams:6379/9"
    assert settings["CHAT_QUEUE_REDIS_URL"] == "redis://127.0.0.1:6379/2"


def test_the_streams_are_named_by_prefix_or_one_by_one(load: Load) -> None:
    assert load()["CHAT_STREAM_SEND_NAME"] == "chat:stream:send_message"
    settings = load(CHAT_STREAM_REDIS_PREFIX="x:", CHAT_STREAM_DLQ_NAME="dead")
    assert settings["CHAT_STREAM_MARK_READ_NAME"] == "x:mark_as_read"
    assert settings["CHAT_STREAM_DLQ_NAME"] == "dead"


def test_the_demo_login_is_email_and_password(load: Load) -> None:
    assert load()["DEMO_LOGIN"] is None
    given = load(DEMO_LOGIN="ana@demo.example:with:colon")
    assert given["DEMO_LOGIN"] == {"email": "ana@demo.example", "password": "with:colon"}


def test_https_makes_cookies_secure(load: Load) -> None:
    assert load(PUBLIC_URL="https://chat.example.com/")["SESSION_COOKIE_SECURE"] is True
    assert load()["CSRF_COOKIE_SECURE"] is False


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"DATABASE_URL": POSTGRESQL}, "SECRET_KEY is missing"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY must be a random text"),
        ({"SECRET_KEY": "django-insecure-" + KEY}, "not a sample"),
        ({"SECRET_KEY": "change-me-" + KEY}, "not a sample"),
        ({"DATABASE_URL": POSTGRESQL, "SECRET_KEY": KEY, "DEBUG": "1"}, "DEBUG must be 0"),
        ({"DATABASE_URL": "mysql://user:hunter2@db/alrea"}, "PostgreSQL .* or SQLite"),
        ({"DATABASE_URL": "somewhere"}, "DATABASE_URL must look like"),
        ({"REDIS_URL": "localhost"}, "REDIS_URL must look like"),
        ({"CHAT_SEND_TRANSPORT": "pigeon"}, "CHAT_SEND_TRANSPORT must be one of stream, list"),
        ({"CHAT_SEND_LEASE_SECONDS": "90"}, "CHAT_SEND_LEASE_SECONDS must be longer"),
        ({"CHAT_STREAM_MAX_RETRIES": "0"}, "CHAT_STREAM_MAX_RETRIES must be between 1 and 1000"),
    ],
)
def test_it_refuses(load: Load, variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence) as refused:
        load(**variables)
    assert "hunter2" not in str(refused.value)
