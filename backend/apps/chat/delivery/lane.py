"""Step, sweep, take over: batches in, batches out, each in its own transaction. `delivery.finalize` writes outcomes.

These are plain functions over Django's connection of the calling thread. `delivery.batcher` calls them from the one
database thread of a process; tests and management commands may call them directly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Subquery
from django.db.models.functions import Now

from apps.chat.delivery import pipeline
from apps.chat.delivery.sql import statements
from apps.chat.models import Attempt, Delivery, Worker
from apps.tenancy.secrets import unseal

State = Delivery.State
# Sends that put a message of its own into the chat; the other kinds change one that is there.
OWN_SENDS = (Delivery.Kind.TEXT, Delivery.Kind.MEDIA)
# How far back a dead worker's lanes are looked for; more were not in any hands a moment ago.
RECENT_ATTEMPTS = 20_000


@dataclass(frozen=True, slots=True)
class Step:
    """A head that is now ours: what to send, where, and the fence its outcome must carry."""

    id: int
    conversation_id: UUID
    message_id: UUID
    instance_id: UUID
    tenant_id: UUID
    kind: int
    payload: dict[str, Any] | None
    fence: int
    tries: int
    attempts: int
    checks: int
    state: int
    reason: str
    content: str
    quoted_id: str
    remote_jid: str
    instance_name: str
    base_url: str
    api_key: str
    parks: int
    mode: str
    target_id: str | None = None
    cold_held: bool = False

    def __repr__(self) -> str:
        return f"Step(delivery={self.id}, fence={self.fence}, attempt={self.attempts})"


@dataclass(frozen=True, slots=True)
class Busy:
    """Another session holds the lane's head at this moment: ask again shortly, acknowledge nothing."""

    conversation_id: UUID


@dataclass(frozen=True, slots=True)
class Final:
    """What became of a step or of a look of the resolver.

    `prov` is evidence: it needs no fence and may come in any state. Without it the row must still carry `fence`.
    `wait` (seconds) is when the row may move again; `refund` gives back a try that should not count. `message` gets the
    provider id; None where that is not the message's own (a reaction to it).
    """

    id: int
    n: int
    fence: int
    state: int
    message: UUID | None
    reason: str = ""
    prov: str | None = None
    wait: float | None = None
    refund: int = 0
    closed: int | None = None
    http: int | None = None
    bytes_left: bool | None = None
    bound_by: int = Attempt.BoundBy.ANSWER


@dataclass(frozen=True, slots=True)
class Finalized:
    """A row as a finalize left it. `told_more`: an ack that waited for its provider id was there already."""

    id: int
    state: int
    tries: int
    failure_gen: int
    told_more: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """A row the sweeper found due."""

    id: int
    conversation_id: UUID
    instance_id: UUID
    state: int


_STEP_FIELDS = tuple(field.name for field in fields(Step))
_UUID_FIELDS = ("conversation_id", "message_id", "instance_id", "tenant_id")
_open_sealed = lru_cache(maxsize=1024)(unseal)

_STEP_COLUMNS = """
SELECT d.id, d.conversation_id, d.message_id, d.instance_id, d.tenant_id, d.kind, d.payload, d.fence, d.tries,
  d.attempts, d.checks, d.state, d.reason, m.content, coalesce(q.provider_id, m.quoted_provider_id),
  c.remote_jid, i.name, i.base_url, i.api_key, i.gate_parks, t.delivery_mode,
  m.provider_id, i.cold_held_until IS NOT NULL
FROM chat_delivery d
JOIN chat_message m ON m.id = d.message_id
JOIN chat_conversation c ON c.id = d.conversation_id
JOIN chat_instance i ON i.id = d.instance_id
JOIN tenancy_tenant t ON t.id = d.tenant_id
LEFT JOIN chat_message q ON q.id = m.reply_to_id
"""
# What a step of ours may have moved: a superset, of which the step's own answer picks.
_STEPPED = f"""{_STEP_COLUMNS}
WHERE d.conversation_id IN (SELECT value::uuid FROM jsonb_array_elements_text(%(lanes)s::jsonb))
  AND d.live AND d.state = 1 AND d.owner_id = %(owner)s
"""  # noqa: S608  (constant text)


def as_uuid(value: UUID | str) -> UUID:
    """An id as the driver gives it: PostgreSQL's a UUID, SQLite's a text."""
    return value if isinstance(value, UUID) else UUID(value)


def _read_steps(ids: Sequence[int]) -> list[Step]:
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(ids))
        cursor.execute(f"{_STEP_COLUMNS} WHERE d.id IN ({marks})", list(ids))
        return [_as_step(row) for row in cursor.fetchall()]


def _as_step(row: Sequence[Any]) -> Step:
    payload = json.loads(row[6]) if isinstance(row[6], str) else row[6]
    key = _open_sealed(row[18]) if row[18] else ""
    mode = row[20] or settings.CHAT_DELIVERY_MODE
    named = dict(zip(_STEP_FIELDS, row, strict=True))
    ids = {name: as_uuid(named[name]) for name in _UUID_FIELDS}
    return Step(**{**named, **ids, "payload": payload, "api_key": key, "mode": mode})


def step(lanes: Iterable[UUID], owner: int) -> list[Step | Busy]:
    """T1: move the head of each lane from queued to sending and open its attempt, in one transaction.

    Lanes that have nothing to give (empty, waiting, held, parked, another worker's) are absent from the answer.
    """
    sql = statements(connection.vendor)
    values: dict[str, str | int | float] = {
        "lanes": json.dumps([lane.hex for lane in lanes]),
        "owner": owner,
        "lease": settings.CHAT_SEND_LEASE_SECONDS,
        "settle": settings.CHAT_SEND_SETTLE_SECONDS,
    }
    if connection.vendor == "postgresql":
        rows, contents = pipeline.run([(sql.step, values), (_STEPPED, values)])
        mine = {row[0] for row in rows if not row[2]}
        steps = [_as_step(row) for row in contents if row[0] in mine]
        return [*steps, *(Busy(as_uuid(row[1])) for row in rows if row[2])]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.step, values)
        ids = [row[0] for row in cursor.fetchall()]
        if not ids:
            return []
        cursor.execute(sql.attempts, {"ids": json.dumps(ids)})
        return [*_read_steps(ids)]


def sweep(limit: int) -> list[Due]:
    """Rows whose alarm rang and that may move now, at most `limit` looked at. Their alarm is set anew."""
    values = {"limit": limit, "again": settings.CHAT_SWEEP_AFTER_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(statements(connection.vendor).sweep, values)
        rows = cursor.fetchall()
    return [Due(row[0], as_uuid(row[1]), as_uuid(row[2]), row[3]) for row in rows if row[4]]


def take_over() -> list[int]:
    """T7: rows in the hands of workers whose heartbeat is gone go to verifying, due at once."""
    values = {
        "dead": settings.CHAT_HEARTBEAT_DEAD_SECONDS,
        "horizon": 4 * settings.CHAT_SEND_LEASE_SECONDS + 3600,
    }
    with connection.cursor() as cursor:
        cursor.execute(statements(connection.vendor).take_over, values)
        taken = [row[0] for row in cursor.fetchall()]
    _ring_lanes_of_the_dead()
    return taken


def _ring_lanes_of_the_dead() -> None:
    """Once for each death: ring the lanes the worker had its hands on.

    It may have died between an outcome and the next step; what waits behind that head has an alarm minutes away.
    """
    silent = database_now() - timedelta(seconds=settings.CHAT_HEARTBEAT_DEAD_SECONDS)
    dead = list(Worker.objects.filter(stopped=False, beat_at__lt=silent).values_list("pk", flat=True))
    if not dead:
        return
    latest = Attempt.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    held = Attempt.objects.filter(pk__gt=latest - RECENT_ATTEMPTS, worker_id__in=dead)
    for conversation_id in sorted(set(held.values_list("conversation_id", flat=True))):
        ring(conversation_id)
    Worker.objects.filter(pk__in=dead).update(stopped=True)


def claim_verifying(ids: Sequence[int], owner: int, lease: float) -> list[Step]:
    """T8: rows that are due for a look of the resolver, now ours for `lease` seconds."""
    values: dict[str, str | int | float] = {"ids": json.dumps(list(ids)), "owner": owner, "lease": lease}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements(connection.vendor).claim_verifying, values)
        mine = [row[0] for row in cursor.fetchall()]
        return _read_steps(mine) if mine else []


def wake_instance(instance_id: UUID) -> None:
    """Ring the alarm of every head on this instance: it may send again."""
    with connection.cursor() as cursor:
        instance = instance_id if connection.vendor == "postgresql" else instance_id.hex
        cursor.execute(statements(connection.vendor).wake_instance, {"instance": instance})


def ring(conversation_id: UUID) -> None:
    """Ring the alarm of a lane whose wake-up could not be queued: that of its head, the only one that may move."""
    live = Delivery.objects.filter(conversation_id=conversation_id, live=True)
    head = live.order_by("seq").values("pk")[:1]
    live.filter(pk=Subquery(head)).update(sweep_at=database_now())


def database_now() -> Any:
    """The database's clock, as an expression: the only one that decides anything."""
    return Now()


def database_seconds() -> float:
    """The database's clock in seconds since 1970."""
    with connection.cursor() as cursor:
        cursor.execute(statements(connection.vendor).now)
        return float(cursor.fetchone()[0])
