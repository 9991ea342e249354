"""What an operator does with dead letters, many at a time: choose, look at what would happen, replay or discard.

Whatever is done names the failure that was looked at (`failure_gen`): pressing twice, or two people pressing at once,
sends once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import F, QuerySet

from apps.chat import deciding
from apps.chat.delivery import dead_letters
from apps.chat.errors import Conflict, NotFound
from apps.chat.models import Delivery, Instance, Message

logger = logging.getLogger(__name__)

AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters: all that fit every condition given. `since` is about the time of the failure."""

    tenant_id: UUID | None = None
    instance: str = ""
    reason: str = ""
    since: datetime | None = None
    message_ids: Collection[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A dead letter as it was looked at. Nothing of what it says, nor to whom."""

    delivery_id: int
    message_id: UUID
    conversation_id: UUID
    tenant_id: UUID
    tenant: str
    instance_id: UUID
    instance: str
    gate: int
    gate_reason: str
    seq: int
    reason: str
    attempts: int
    failure_gen: int
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a bulk verb is about to touch."""

    messages: int
    reasons: dict[str, int]
    instances: dict[str, int]
    conversations: dict[str, int]
    waiting: dict[str, str]
    """Instances whose gate is closed, and why: a replay waits for them."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a bulk verb did. `missed` had moved on since they were looked at: somebody was faster."""

    done: list[UUID]
    missed: list[UUID]


# Where each field of Failed is found.
_COLUMNS: Final = {field.name: field.name for field in fields(Failed)} | {
    "delivery_id": "pk",
    "tenant": "tenant__name",
    "instance": "instance__name",
    "gate": "instance__gate",
    "gate_reason": "instance__gate_reason",
    "failed_at": "finished_at",
}


def matching(wanted: Wanted) -> QuerySet[Delivery]:
    """The rows, in no order yet."""
    rows = dead_letters.failed()
    if wanted.tenant_id is not None:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    if wanted.instance:
        rows = rows.filter(instance__name=wanted.instance)
    if wanted.reason:
        rows = rows.filter(reason=wanted.reason)
    if wanted.since is not None:
        rows = rows.filter(finished_at__gte=wanted.since)
    if wanted.message_ids is not None:
        rows = rows.filter(message_id__in=wanted.message_ids)
    return rows


def latest(wanted: Wanted, limit: int | None = None) -> list[Failed]:
    """For people to read: the latest failure first."""
    return _read(matching(wanted).order_by(F("finished_at").desc(nulls_last=True), "-pk"), limit)


def in_lane_order(wanted: Wanted, limit: int | None = None) -> list[Failed]:
    """For doing: each conversation's in the order they were written, the longest waiting conversation first."""
    rows = _read(matching(wanted).order_by("pk"), None)
    first: dict[UUID, int] = {}
    for row in rows:
        first.setdefault(row.conversation_id, row.delivery_id)
    rows.sort(key=lambda row: (first[row.conversation_id], row.seq))
    return rows[:limit] if limit else rows


def _read(rows: QuerySet[Delivery], limit: int | None) -> list[Failed]:
    values: Any = rows.values_list(*_COLUMNS.values())
    return [Failed(*row) for row in (values[:limit] if limit else values)]


def preview(rows: Sequence[Failed]) -> Preview:
    """What these are, counted."""
    return Preview(
        messages=len(rows),
        reasons=dict(Counter(row.reason for row in rows).most_common()),
        instances=dict(Counter(row.instance for row in rows).most_common()),
        conversations=dict(Counter(str(row.conversation_id) for row in rows).most_common()),
        waiting={row.instance: row.gate_reason for row in rows if row.gate != Instance.Gate.OPEN},
    )


def replay(rows: Sequence[Failed]) -> Done:
    """Send each once more, at the end of its lane, in this order."""
    return _each(rows, "replayed", deciding.retry)


def discard(rows: Sequence[Failed]) -> Done:
    """Give each up: it stays in its conversation as cancelled."""
    return _each(rows, "discarded", deciding.discard)


def _each(rows: Sequence[Failed], what: str, verb: Callable[[Message, int], object]) -> Done:
    result = Done([], [])
    for start in range(0, len(rows), AT_ONCE):
        with dead_letters.forgetting_together():
            for row in rows[start : start + AT_ONCE]:
                (result.done if _one(row, verb) else result.missed).append(row.message_id)
    logger.info("dead letters %s", what, extra={"messages": len(result.done), "moved_on": len(result.missed)})
    return result


def _one(row: Failed, verb: Callable[[Message, int], object]) -> bool:
    try:
        verb(Message.objects.get(pk=row.message_id), row.failure_gen)
    except (Conflict, NotFound, Message.DoesNotExist):
        return False
    return True
