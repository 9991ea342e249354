"""Many rows by one statement each, shaped by the models: PostgreSQL only.

A row's values come from a model instance (so that a new column with a default needs nothing here); those that differ
from row to row are given as SQL expressions over the columns of a source, such as `generate_series(1, 10) AS n`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection, models
from django.db.models.fields import NOT_PROVIDED

# A UUIDv7 of a moment in milliseconds whose other bits follow from a name, so that other rows can tell it.
_ID_OF = """
CREATE OR REPLACE FUNCTION pg_temp.id_of(ms bigint, name text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(name), 1, 3) || '8' || substr(md5(name), 4, 15))::uuid
$$
"""


def prepare() -> None:
    """Make `pg_temp.id_of(milliseconds, name)` known to this connection."""
    with connection.cursor() as cursor:
        cursor.execute(_ID_OF)


def insert_many(row: models.Model, source: str, given: Mapping[str, str]) -> int:
    """INSERT one row for each row of `source` (what follows FROM); how many.

    Args:
        row: an unsaved instance: the values of all fields that `given` does not name.
        given: field's attribute (`conversation_id`) -> SQL expression. No stranger's text may be in it.
    """
    columns: list[str] = []
    expressions: list[str] = []
    values: list[Any] = []
    for field in row._meta.concrete_fields:
        known = field.attname in given
        if field.generated or not (known or _has_value(row, field)):
            continue
        columns.append(connection.ops.quote_name(str(field.column)))
        expressions.append(given[field.attname] if known else "%s")
        if not known:
            values.append(field.get_db_prep_save(field.pre_save(row, add=True), connection))
    table = connection.ops.quote_name(row._meta.db_table)
    text = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(expressions)} FROM {source}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        return int(cursor.rowcount)


def _has_value(row: models.Model, field: Any) -> bool:
    """Whether we write the column: not where the database numbers the rows or has a default of its own."""
    return not (isinstance(field, models.AutoField) or field.db_default is not NOT_PROVIDED)
