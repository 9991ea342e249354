"""Several statements to PostgreSQL in one round trip, prepared once per connection.

Django sends each statement by itself, with its values written into the text, so that PostgreSQL plans it anew: for a
step that is five round trips and two plans. A pipeline without BEGIN is one implicit transaction up to its end
(PostgreSQL's extended query protocol), so the step is as atomic as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, cast

import psycopg
from django.db import connection

_OUTLIVED = (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidSqlStatementName)
Values = Mapping[str, Any] | Sequence[Any]


def run(statements: Sequence[tuple[str, Values]]) -> list[list[tuple[Any, ...]]]:
    """The rows of each statement, in order, none of one that gives none; all of them in one transaction.

    Raises:
        django.db.Error: as Django itself would.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    raw = cast("psycopg.Connection[Any]", connection.connection)
    with connection.wrap_database_errors:
        try:
            with (
                raw.pipeline() if len(statements) > 1 else nullcontext()
            ):  # one is a trip of its own as it is
                cursors = [_sent(raw, sql, values) for sql, values in statements]
        except _OUTLIVED:  # by a migration or a pooler: it would fail for as long as this connection lasts
            connection.close()
            raise
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


def _sent(raw: psycopg.Connection[Any], sql: str, values: Values) -> psycopg.Cursor[Any]:
    # psycopg.Cursor sends values apart from the text; Django's own cursors write them into it.
    return psycopg.Cursor(raw).execute(sql, values, prepare=True)
