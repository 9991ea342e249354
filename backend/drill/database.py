"""A private database per drill, migrated once and copied; and what an observer reads in it.

Read with plain drivers: a drill runs beside the system, not inside it.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from testing import servers

from drill.oracle import Row, State

# For the throw-away databases of drills only.
SECRET_KEY = "drill-only-" + "0123456789abcdef" * 2

_ROWS = """
SELECT message_id, conversation_id, state, reason, seq, tries, attempts, failure_gen
FROM chat_delivery WHERE kind = 0 ORDER BY id
"""


class Database(ABC):
    """One drill's database."""

    kind: str
    url: str

    @abstractmethod
    def select(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, by a connection of its own."""

    def number(self, query: str) -> int:
        """The one number a query answers."""
        return int(self.select(query)[0][0])

    def rows(self) -> dict[str, Row]:
        """Message id -> its delivery (the last one written)."""
        return {
            _plain(message): Row(_plain(message), _plain(conversation), State(state), *rest)
            for message, conversation, state, *rest in self.select(_ROWS)
        }


def _plain(value: Any) -> str:
    return str(value).replace("-", "")


class Sqlite(Database):
    """A SQLite file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"

    def select(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection:
            return connection.execute(query).fetchall()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else may write, as behind a long transaction."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")


class Postgres(Database):
    """A database of a private PostgreSQL, whose server a drill may also break."""

    kind = "postgresql"

    def __init__(self, server: servers.PostgresServer, name: str) -> None:
        self.server, self.name, self.url = server, name, server.url_of(name)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def terminate_backends(self) -> int:
        """End every session in this database; how many there were."""
        with psycopg.connect(self.server.url_of("postgres"), autocommit=True) as connection:
            found = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name]
            )
            return len(found.fetchall())

    def set_read_only(self, on: bool) -> None:
        """Every new transaction of the whole server is read-only, as on a replica or a full disk."""
        with psycopg.connect(self.server.url_of("postgres"), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(
                b"ALTER SYSTEM SET default_transaction_read_only = " + (b"on" if on else b"off")
            )
            connection.execute("SELECT pg_reload_conf()")


class Databases(ABC):
    """Where drills get their databases from."""

    @abstractmethod
    def new(self, name: str, directory: Path) -> Database:
        """A migrated, empty database."""


class _SqliteFiles(Databases):
    def __init__(self, directory: Path) -> None:
        self._base = directory / "base.sqlite3"
        _migrate(f"sqlite:///{self._base}", directory)
        # The journal's content belongs into the file before that is copied.
        with contextlib.closing(sqlite3.connect(self._base)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def new(self, name: str, directory: Path) -> Sqlite:
        path = directory / "drill.sqlite3"
        shutil.copyfile(self._base, path)
        return Sqlite(path)


class _PostgresDatabases(Databases):
    def __init__(self, server: servers.PostgresServer, directory: Path) -> None:
        self._server = server
        _migrate(server.url, directory)

    def new(self, name: str, directory: Path) -> Postgres:
        with psycopg.connect(self._server.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE alrea'.encode())
        return Postgres(self._server, name)


def _migrate(url: str, directory: Path) -> None:
    env = {"DATABASE_URL": url, "ALREA_VAR_DIR": str(directory), "SECRET_KEY": SECRET_KEY}
    servers.manage("migrate", "--verbosity", "0", env=env)


@contextlib.contextmanager
def databases(kind: str, directory: Path) -> Iterator[Databases]:
    """Databases of this kind, for as long as the block.

    Raises:
        ServerMissing: there is no PostgreSQL on this machine.
    """
    if kind == "sqlite":
        yield _SqliteFiles(directory)
        return
    # Commits are in the file before they count (a kill -9 must not lose them); only the disk's cache is trusted.
    with servers.postgresql(synchronous_commit="on") as server:
        yield _PostgresDatabases(server, directory)
