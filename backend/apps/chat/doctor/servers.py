"""Settings, database and Redis: is what we stand on as it must be?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from alrea_sense.redis_url import address
from django.conf import settings
from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.chat.doctor.findings import Finding, ok, problem, several, warning
from apps.chat.redis_clients import TROUBLE, sync_client

OLDEST_REDIS: Final = (6, 2)
MEMORY_LIMIT: Final = 0.9
_PURPOSES: Final = {
    "cache": "CACHE_REDIS_URL",
    "channels": "CHANNELS_REDIS_URL",
    "lists": "CHAT_QUEUE_REDIS_URL",
    "streams": "CHAT_STREAM_REDIS_URL",
    "pacing": "CHAT_PACE_REDIS_URL",
}


def check_settings() -> Iterator[Finding]:
    """Django's system checks, ours among them."""
    found = [message for message in checks.run_checks() if not message.is_silenced()]
    for message in found:
        kind = problem if message.is_serious() else warning
        yield kind("settings", f"{message.id}: {message.msg}", message.hint or "see docs/settings.md")
    if settings.CHAT_FAIL_AT:
        yield problem("settings", "CHAT_FAIL_AT makes workers fail on purpose", "unset it outside drills")
    if not found and not settings.CHAT_FAIL_AT:
        yield ok("settings", "the system checks pass")


def check_reachable() -> Iterator[Finding]:
    """Nothing when the database answers and has this release's tables.

    Raises:
        django.db.Error: it does not answer.
    """
    connection.ensure_connection()
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        names = [f"{step.app_label}.{step.name}" for step, _ in plan]
        yield problem("migrations", f"not applied: {several(names)}", "run `python manage.py migrate`")


def check_database() -> Iterator[Finding]:
    """Does it keep what it was told? A step that is not on disk before its POST may become a double send."""
    look = {"sqlite": _sqlite, "postgresql": _postgresql}[connection.vendor]
    wrong = [words for words, is_wrong in look().items() if is_wrong]
    if wrong:
        yield problem("database", several(wrong), "put it right before sending: see docs/operations.md")
    else:
        yield ok("database", f"{connection.display_name} answers, keeps what it is told, and is migrated")


def _sqlite() -> dict[str, bool]:
    mode, level = _ask("PRAGMA journal_mode"), _ask("PRAGMA synchronous")
    return {
        f"journal_mode is {mode}, not WAL: readers and writers wait for each other": mode.lower() != "wal",
        "synchronous is below FULL: a power cut may double a send": int(level) < 2,
    }


def _postgresql() -> dict[str, bool]:
    return {
        "fsync is off: a power cut may lose or double messages": _ask("SHOW fsync") == "off",
        "synchronous_commit is off: a crash may double a send": _ask("SHOW synchronous_commit") == "off",
        "it is read-only": _ask("SHOW transaction_read_only") == "on",
    }


def _ask(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])


def check_redis() -> Iterator[Finding]:
    """Each purpose reachable; each server new enough, not evicting, with room, and with an append-only file."""
    servers: dict[str, dict[str, Any]] = {}
    for purpose, setting in _PURPOSES.items():
        url = getattr(settings, setting)
        try:
            servers.setdefault(address(url), dict(sync_client(url).info("everything")))
            sync_client(url).ping()
        except (*TROUBLE, ValueError) as error:
            yield problem(
                f"redis {purpose}",
                f"Redis at {address(url)} does not answer ({type(error).__name__})",
                f"start it, or correct {setting}; messages leave from the database meanwhile, more slowly",
            )
        else:
            yield ok(f"redis {purpose}", f"Redis at {address(url)} answers")
    for where, info in servers.items():
        yield from _server(where, info)


def _server(where: str, info: dict[str, Any]) -> Iterator[Finding]:
    name = f"redis server {where}"
    found = [*_too_old(name, info), *_evicts(name, info), *_forgets(name, info)]
    yield from found
    if not found:
        yield ok(name, f"{_product(info)}, noeviction, append-only file on")


def _product(info: dict[str, Any]) -> str:
    valkey = info.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version')}"


def _too_old(name: str, info: dict[str, Any]) -> Iterator[Finding]:
    version = str(info.get("redis_version", ""))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if parts < OLDEST_REDIS:
        yield problem(name, f"version {version or '?'} lacks XAUTOCLAIM", "use Redis 6.2 or newer, or Valkey")


def _evicts(name: str, info: dict[str, Any]) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy", "")
    most, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
    if policy != "noeviction":
        yield problem(
            name,
            f"maxmemory-policy is {policy or 'unknown'}: Redis may throw wake-ups away when memory runs short",
            "CONFIG SET maxmemory-policy noeviction, and keep it in the server's configuration",
        )
    if most and used > MEMORY_LIMIT * most:
        yield warning(
            name, f"{used / most:.0%} of maxmemory is used", "give it more memory; rows are safe anyway"
        )


def _forgets(name: str, info: dict[str, Any]) -> Iterator[Finding]:
    if not info.get("aof_enabled"):
        yield warning(
            name,
            "appendonly is off: a restart forgets the queues, and messages wait for the sweeper",
            "CONFIG SET appendonly yes, and keep it in the server's configuration; no message is lost either way",
        )
