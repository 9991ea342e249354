"""Statements to PostgreSQL in one trip: planned once, one transaction, and no plan outlives what broke it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, IntegrityError, connection

from apps.chat.delivery import lane, pipeline
from apps.chat.tests.delivery.threads import in_thread
from apps.chat.tests.factories import make_worker, queue

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no trips to save"),
]


@pytest.fixture
def table() -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE pipeline_test (a integer UNIQUE)")
    yield "pipeline_test"
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE pipeline_test")


def plans(beginning: str) -> list[int]:
    """How often each prepared statement of this connection that begins so was run."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement LIKE %s",
            [beginning + "%"],
        )
        return [runs for (runs,) in cursor.fetchall()]


def test_a_statement_is_parsed_once_per_connection(table: str) -> None:
    connection.close()
    for number in range(7):
        pipeline.run([(f"INSERT INTO {table} VALUES (%s)", [number])])

    assert plans(f"INSERT INTO {table}") == [7]


def test_a_step_is_prepared() -> None:
    connection.close()
    worker = make_worker()
    for _ in range(3):
        lane.step([queue().conversation_id], worker.pk)

    assert max(plans("%chat_delivery%"), default=0) == 3


def test_several_statements_are_one_transaction(table: str) -> None:
    with pytest.raises(IntegrityError):
        pipeline.run([(f"INSERT INTO {table} VALUES (%s)", [1]), (f"INSERT INTO {table} VALUES (%s)", [1])])

    assert pipeline.run([(f"SELECT a FROM {table}", [])]) == [[]]
    assert pipeline.run([(f"INSERT INTO {table} VALUES (%s) RETURNING a", [2]), ("SELECT 1", [])]) == [
        [(2,)],
        [(1,)],
    ]


def test_a_plan_that_a_migration_broke_fails_once(table: str) -> None:
    select = (f"SELECT a FROM {table}", ())
    pipeline.run([select])

    def migrate() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ALTER a TYPE text")

    in_thread(migrate)
    with pytest.raises(DatabaseError):
        pipeline.run([select])

    assert pipeline.run([select]) == [[]]


def test_a_statement_that_a_pooler_forgot_fails_once(table: str) -> None:
    select = (f"SELECT a FROM {table}", ())
    pipeline.run([select, select])
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")  # behind the driver's back
    with pytest.raises(DatabaseError):
        pipeline.run([select])

    assert pipeline.run([select]) == [[]]
