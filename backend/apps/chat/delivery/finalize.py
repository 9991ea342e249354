"""Finalize: what became of steps and of looks of the resolver, written; batches in and out, each its own transaction.

A clash of provider ids fails the whole batch in the database, so it is then redone row by row, and the clashing row on
its own terms (`delivery.clash`). What was parked under an id that is bound here is attached after the commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from uuid import UUID

from django.db import DataError, IntegrityError, connection, transaction

from apps.chat.delivery import pipeline
from apps.chat.delivery.acks import attach_parked_acks
from apps.chat.delivery.clash import ClashUnsettled, Outranked, settle_clash
from apps.chat.delivery.lane import Final, Finalized, as_uuid
from apps.chat.delivery.sql import DOUBTS, statements
from apps.chat.models import Delivery

State = Delivery.State
_RELAXED = "SELECT set_config('synchronous_commit', 'off', true)"
_FIELDS = tuple(field.name for field in fields(Final))


def finalize(finals: Sequence[Final]) -> list[Finalized]:
    """Record outcomes, in a transaction of their own; answers the rows that changed.

    A row that is missing from the answer had moved on: its fence was newer, or it was proven sent before.
    """
    rows = [
        replace(final, wait=round(final.wait, 3)) if final.wait is not None else final
        for final in _merged(finals)
    ]
    try:
        return _write(rows)
    except (IntegrityError, DataError):
        return _one_by_one(rows)


def _merged(finals: Sequence[Final]) -> list[Final]:
    """One entry per row, evidence first: with a duplicate id the database would keep whichever came first."""
    best: dict[int, Final] = {}
    for final in finals:
        known = best.get(final.id)
        if known is None or (final.prov and not known.prov):
            best[final.id] = final
    return list(best.values())


def _write(finals: Sequence[Final]) -> list[Finalized]:
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        rows = _as_json(finals)
        done = _write_in_one_trip(rows)
    else:
        done, rows = _write_in_turn(finals)
    if any(final.prov for final in finals):
        told_more = _attach_parked(rows)
        done = [replace(row, told_more=row.id in told_more) for row in done]
    return done


def _write_in_one_trip(rows: str) -> list[Finalized]:
    """PostgreSQL: all statements in one round trip, one transaction that waits for no disk.

    A power cut may forget the last moments: what was sending is then verified, as after any crash. The step before the
    POST is what must be on disk.
    """
    sql, values = statements("postgresql"), {"rows": rows}
    _, done, *_ = pipeline.run(
        [(_RELAXED, {}), (sql.finalize, values), (sql.close_applied, values), (sql.mark_sent, values)]
    )
    return [Finalized(*row) for row in done]


def _write_in_turn(finals: Sequence[Final]) -> tuple[list[Finalized], str]:
    sql = statements(connection.vendor)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.finalize, {"rows": _as_json(finals)})
        done = [Finalized(*row) for row in cursor.fetchall()]
        applied = {row.id for row in done}
        # Proof needs no fence, and neither does doubt: forgotten, it would let absence count.
        counted = _as_json(
            final for final in finals if final.prov or final.id in applied or final.reason in DOUBTS
        )
        cursor.execute(sql.close_attempts, {"rows": counted})
        if any(final.prov for final in finals):
            cursor.execute(sql.mark_sent, {"rows": counted})
    return done, counted


def _attach_parked(rows: str) -> set[int]:
    """Give the rows what was parked under their new provider ids; must follow the commit that wrote these."""
    sql, values = statements(connection.vendor).parked, {"rows": rows}
    if connection.vendor == "postgresql":
        [found] = pipeline.run([(sql, values)])
    else:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            found = cursor.fetchall()
    return {row[0] for row in found if attach_parked_acks(as_uuid(row[1]), [row[2]])}


def _one_by_one(finals: Sequence[Final]) -> list[Finalized]:
    """Each row on its own, so that a bad one fails nobody else; what cannot be written at all is raised last."""
    done: list[Finalized] = []
    unwritten: Exception | None = None
    for final in finals:
        try:
            done += _write([final])
        except (IntegrityError, DataError) as error:
            if final.prov is None:
                unwritten = error
            else:
                done += _finalize_clashing(final)
    if unwritten is not None:
        raise unwritten
    return done


def _finalize_clashing(final: Final) -> list[Finalized]:
    """One proof whose provider id somebody else holds, or that cannot be stored: make room, or hold the row."""
    try:
        settle_clash(final)
        return _write([final])
    except Outranked:
        return []
    except (ClashUnsettled, IntegrityError, DataError):
        return _write([replace(final, prov=None, closed=None, state=State.HELD, reason="provider_id_clash")])


def _hex(value: UUID | None) -> str | None:
    return value.hex if value else None


def _as_json(finals: Iterable[Final]) -> str:
    return json.dumps(
        [
            {**{name: getattr(final, name) for name in _FIELDS}, "message": _hex(final.message)}
            for final in finals
        ]
    )
