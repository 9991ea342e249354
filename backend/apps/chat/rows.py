"""Inserting, changing and selecting rows without building the statement anew.

Django compiles an INSERT for each `create()` and a SELECT for each `get()`: a third of a millisecond and up to a whole
one of CPU for models of this size, on the path between a person's Enter and WhatsApp. Here the text is made once per
model and set of columns; values still go through the fields, and columns with a database default that was not
overridden are left to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Field, Model
from django.db.models.expressions import DatabaseDefault

M = TypeVar("M", bound=Model)
Convert = Callable[[Any, Any, Any], Any]


def select(
    model: type[M], rest: str, values: Sequence[Any], also: str = ""
) -> list[tuple[M, tuple[Any, ...]]]:
    """SELECT whole rows of a model: its instances, each with the further columns asked for.

    Args:
        rest: the statement from FROM on, in SQL that both databases understand; the model's table under its own name.
        values: its parameters, as the driver wants them: ids through `key`.
        also: further columns, as the driver gives them.
    """
    text, names, converters = _selection(model, connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {text}{', ' + also if also else ''} {rest}", values)
        rows = cursor.fetchall()
    width = len(names)
    return [(_as_instance(model, names, converters, row[:width]), tuple(row[width:])) for row in rows]


def key(model: type[Model], value: Any) -> Any:
    """A primary key as the driver wants it."""
    return model._meta.pk.get_db_prep_value(value, connection)


def _as_instance(model: type[M], names: tuple[str, ...], converters: Sequence[Any], row: Sequence[Any]) -> M:
    values = list(row)
    for index, expression, converts in converters:
        for convert in converts:
            values[index] = convert(values[index], expression, connection)
    return model.from_db(connection.alias, names, values)


@lru_cache(maxsize=64)
def _selection(model: type[Model], vendor: str) -> tuple[str, tuple[str, ...], Sequence[Any]]:
    """The columns as text, their attributes, and how what the driver gives becomes what the fields promise."""
    quote, table = connection.ops.quote_name, model._meta.db_table
    fields = model._meta.concrete_fields
    converters = []
    for index, field in enumerate(fields):
        expression = field.get_col(table)
        converts: list[Convert] = [
            *connection.ops.get_db_converters(expression),
            *expression.get_db_converters(connection),
        ]
        if converts:
            converters.append((index, expression, converts))
    text = ", ".join(f"{quote(table)}.{quote(str(field.column))}" for field in fields)
    return text, tuple(field.attname for field in fields), converters


def insert(row: Model, on_conflict: str = "", **marks: tuple[Any, ...]) -> None:
    """INSERT a new instance; an automatic key is set on it. No signals are sent.

    Args:
        on_conflict: what follows ON CONFLICT, in SQL that both databases understand.
        marks: for a column named by its attribute, the SQL that stands for its value, then that SQL's parameters.
    """
    columns, texts, values = _given(row, marks)
    automatic = row._meta.pk not in columns
    with connection.cursor() as cursor:
        cursor.execute(_statement(type(row), columns, texts, automatic, on_conflict), values)
        if automatic:
            row.pk = cursor.fetchone()[0]
    inserted(row)


def insertion_from(source: str, row: Model, **marks: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """INSERT … SELECT of a new instance, once for each row of `source`, as a part of a larger statement.

    Args:
        marks: as for `insert`; their SQL may name the columns of `source`.

    Returns:
        its SQL and its parameters. Call `inserted` when it has run.
    """
    columns, texts, values = _given(row, marks)
    return _selecting_statement(type(row), columns, texts, source), values


def inserted(row: Model) -> None:
    """Note on an instance that its row exists."""
    row._state.adding, row._state.db = False, connection.alias


def _given(
    row: Model, marks: Mapping[str, tuple[Any, ...]]
) -> tuple[tuple[Field[Any, Any], ...], tuple[str, ...], list[Any]]:
    """The columns that are written, the SQL for each, and the parameters."""
    columns = tuple(
        field for field in _concrete(type(row)) if field.attname in marks or _is_given(row, field)
    )
    texts = tuple(marks[field.attname][0] if field.attname in marks else "%s" for field in columns)
    values: list[Any] = []
    for field in columns:
        if field.attname in marks:
            values.extend(marks[field.attname][1:])
        else:
            values.append(field.get_db_prep_save(getattr(row, field.attname), connection))
    return columns, texts, values


def insert_all(new: Sequence[Model]) -> None:
    """INSERT new instances of one model in one statement. No signals are sent.

    Every column is written: keys must be set, and database defaults are not asked.
    """
    model, columns = type(new[0]), _concrete(type(new[0]))
    values = [
        field.get_db_prep_save(getattr(row, field.attname), connection) for row in new for field in columns
    ]
    with connection.cursor() as cursor:
        cursor.execute(_insertion(model, len(new)), values)
    for row in new:
        inserted(row)


@lru_cache(maxsize=256)
def _insertion(model: type[Model], count: int) -> str:
    columns, quote = _concrete(model), connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in columns)
    line = f"({', '.join(['%s'] * len(columns))})"
    return f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES {', '.join([line] * count)}"  # noqa: S608


def update_all(changed: Sequence[Model], attributes: Sequence[str]) -> None:
    """UPDATE these columns of rows of one model, each row to what its instance says, in one statement."""
    model = type(changed[0])
    fields = _named(model, ("pk", *attributes))
    values = [
        field.get_db_prep_save(getattr(row, field.attname), connection) for row in changed for field in fields
    ]
    with connection.cursor() as cursor:
        cursor.execute(_change(model, fields, len(changed), connection.vendor), values)


def _named(model: type[Model], attributes: Sequence[str]) -> tuple[Field[Any, Any], ...]:
    known = {field.attname: field for field in model._meta.concrete_fields} | {"pk": model._meta.pk}
    return tuple(known[name] for name in attributes)


@lru_cache(maxsize=256)
def _change(model: type[Model], fields: tuple[Field[Any, Any], ...], count: int, vendor: str) -> str:
    """PostgreSQL takes a list of NULLs for texts: there each value says its type, without a length to cut it to."""
    quote, table = connection.ops.quote_name, connection.ops.quote_name(model._meta.db_table)
    types = [str(field.db_type(connection)).partition("(")[0] for field in fields]
    marks = ", ".join(f"%s::{kind}" if vendor == "postgresql" else "%s" for kind in types)
    sets = ", ".join(
        f"{quote(str(field.column))} = told.column{place}" for place, field in enumerate(fields[1:], start=2)
    )
    values = ", ".join([f"({marks})"] * count)
    which = f"{table}.{quote(str(fields[0].column))} = told.column1"
    return f"UPDATE {table} SET {sets} FROM (VALUES {values}) AS told WHERE {which}"  # noqa: S608


def _is_given(row: Model, field: Field[Any, Any]) -> bool:
    value = getattr(row, field.attname)
    return not isinstance(value, DatabaseDefault) and not (field.primary_key and value is None)


@lru_cache(maxsize=64)
def _concrete(model: type[Model]) -> tuple[Field[Any, Any], ...]:
    return tuple(field for field in model._meta.concrete_fields if not field.generated)


@lru_cache(maxsize=256)
def _statement(
    model: type[Model],
    columns: tuple[Field[Any, Any], ...],
    marks: tuple[str, ...],
    automatic: bool,
    conflict: str,
) -> str:
    returning = f" RETURNING {connection.ops.quote_name(str(model._meta.pk.column))}" if automatic else ""
    conflict = f" ON CONFLICT {conflict}" if conflict else ""
    return f"{_into(model, columns)} VALUES ({', '.join(marks)}){conflict}{returning}"


@lru_cache(maxsize=64)
def _selecting_statement(
    model: type[Model], columns: tuple[Field[Any, Any], ...], marks: tuple[str, ...], source: str
) -> str:
    return f"{_into(model, columns)} SELECT {', '.join(marks)} FROM {source}"  # noqa: S608


def _into(model: type[Model], columns: tuple[Field[Any, Any], ...]) -> str:
    quote = connection.ops.quote_name
    return (
        f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(quote(str(one.column)) for one in columns)})"
    )
