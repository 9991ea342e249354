"""Looks the whole system over: `chat_doctor`. It only reads; what it finds is for a person."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error

from apps.chat.doctor import invariants, servers, work
from apps.chat.doctor.findings import Check, Finding, problem

__all__ = ["Finding", "examine"]


def examine(*, full: bool = False) -> Iterator[Finding]:
    """Every check in turn. `full`: look at all of history where the latest deliveries would do."""
    yield from _run("settings", servers.check_settings)
    yield from _run("redis", servers.check_redis)
    yield from _run("streams", work.check_streams)
    yield from _run("lists", work.check_lists)
    unfit = list(_run("database", servers.check_reachable))
    if unfit:
        yield from unfit
        return  # the rest asks the database
    yield from _run("database", servers.check_database)
    yield from _run("workers", work.check_workers)
    yield from _run("deliveries", work.check_deliveries)
    yield from _run("instances", work.check_instances)
    yield from _run("journal", work.check_journal)
    yield from _run("invariants", lambda: invariants.check_invariants(full))


def _run(name: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except Error as error:
        yield problem(
            name,
            f"the database does not answer ({type(error).__name__})",
            "start it, or correct DATABASE_URL: nothing is accepted or sent without it",
        )
