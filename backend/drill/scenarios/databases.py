"""The database restarted, its sessions ended, locked, or read-only."""

from __future__ import annotations

import time

from drill.database import Postgres, Sqlite
from drill.scenario import Drill, scenario

ONLY_POSTGRESQL = ("postgresql",)


def _postgres(drill: Drill) -> Postgres:
    database = drill.world.database
    if not isinstance(database, Postgres):
        raise AssertionError("this scenario needs PostgreSQL")  # noqa: TRY004
    return database


@scenario(16, "database-restart", "PostgreSQL restarted under load", databases=ONLY_POSTGRESQL)
def database_restart(drill: Drill) -> None:
    _restart(drill, kill=False)


@scenario(16, "database-killed", "PostgreSQL killed with kill -9 under load", databases=ONLY_POSTGRESQL)
def database_killed(drill: Drill) -> None:
    _restart(drill, kill=True)


def _restart(drill: Drill, *, kill: bool) -> None:
    server = _postgres(drill).server
    drill.warm_up()
    drill.worker()
    drill.worker()
    with drill.load(rate=60) as load:
        load.wait(0.35)
        if kill:
            server.kill()
        else:
            server.stop()
        drill.say("PostgreSQL is away")
        time.sleep(2)
        server.start(60)
        drill.say("PostgreSQL is back")
    drill.settle()


@scenario(
    16, "sessions-ended", "every database session ended by the server, again and again under load",
    databases=ONLY_POSTGRESQL,
)  # fmt: skip
def sessions_ended(drill: Drill) -> None:
    database = _postgres(drill)
    drill.warm_up()
    drill.worker()
    drill.worker()
    ended = 0
    with drill.load(rate=40) as load:
        while not load.over:
            time.sleep(drill.rng.uniform(0.1, 0.6))
            ended += database.terminate_backends()
    drill.figure("sessions_ended", ended)
    drill.settle()


@scenario(
    16,
    "ended-before-finalize",
    "the worker's sessions ended between an answer of Evolution and its record",
    "the record is written by a new session, or evidence decides",
    databases=ONLY_POSTGRESQL,
)
def ended_before_finalize(drill: Drill) -> None:
    drill.warm_up()
    worker = drill.worker(CHAT_FAIL_AT="answer:sleep=1")
    drill.write_all(max(8, drill.messages // 20), lanes=4)
    for _ in range(6):
        drill.wait_for(lambda: worker.output().count("fail point reached"), 40, "an answer")
        time.sleep(drill.rng.uniform(0.2, 0.8))
        _postgres(drill).terminate_backends()
    worker.stop()
    drill.worker()
    drill.settle()


@scenario(
    17,
    "database-read-only",
    "PostgreSQL takes no writes for 10 s under load",
    "no POST to Evolution without a step on disk; the API answers 5xx instead of accepting",
    databases=ONLY_POSTGRESQL,
)
def database_read_only(drill: Drill) -> None:
    database = _postgres(drill)
    drill.warm_up()
    drill.worker()
    drill.worker()
    with drill.load(rate=40) as load:
        load.wait(0.4)
        try:
            database.set_read_only(True)
            time.sleep(1)
            steps, written = _attempts(database), len(drill.ledger.owed)
            drill.say(f"read-only; {steps} steps are on disk")
            time.sleep(10)
            accepted = drill.world.accepted_count()
            drill.check(accepted <= steps, f"{accepted} sends with {steps} steps on disk")
            drill.check(len(drill.ledger.owed) == written, "the API accepted what it could not store")
        finally:
            database.set_read_only(False)
        drill.say("writable again")
    drill.settle()


def _attempts(database: Postgres) -> int:
    return database.number("SELECT count(*) FROM chat_attempt")


@scenario(
    16,
    "database-locked",
    "SQLite's write lock held by somebody else for 12 s under load",
    databases=("sqlite",),
)
def database_locked(drill: Drill) -> None:
    database = drill.world.database
    assert isinstance(database, Sqlite)
    drill.warm_up()
    drill.worker()
    with drill.load(rate=60) as load:
        load.wait(0.35)
        with database.locked():
            drill.say("somebody holds the write lock")
            time.sleep(12)
        drill.say("and lets go")
    drill.settle()
