"""The passport of a message: everything that befell it, by time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apps.chat.models import Attempt, Message, PassportEntry
from apps.chat.realtime.shapes import SEND_KINDS, reason_text, stamp

Entry = tuple[Any, dict[str, Any]]

_ENDS: dict[int | None, str] = {
    None: "attempt_unclear",
    Attempt.Closed.NOT_SENT: "attempt_not_sent",
    Attempt.Closed.ACCEPTED: "attempt_accepted",
    Attempt.Closed.ERROR: "attempt_rejected",
}
_FOUND_BY: dict[int | None, str] = {Attempt.BoundBy.ANSWER: "answer", Attempt.BoundBy.MATCH: "evidence"}


def timeline(message: Message) -> list[dict[str, Any]]:
    """Creation, attempts, decisions and acks, merged: `{at, event, detail}`."""
    entries = [*_acks(message), *_attempts(message), *_passport(message)]
    entries.sort(key=lambda entry: entry[0])
    return [{"at": stamp(at), **entry} for at, entry in entries]


def _acks(message: Message) -> Iterator[Entry]:
    created = "created" if message.direction == Message.Direction.OUTGOING else "received"
    yield message.created_at, {"event": created, "detail": {"origin": message.origin}}
    for event in ("sent", "delivered", "seen", "read", "edited", "deleted"):
        at = getattr(message, f"{event}_at")
        if at is not None:
            yield at, {"event": event, "detail": {}}


def _attempts(message: Message) -> Iterator[Entry]:
    rows = Attempt.objects.filter(delivery__message_id=message.pk, delivery__kind__in=SEND_KINDS)
    for row in rows.select_related("worker").order_by("n"):
        worker = row.worker.name if row.worker else None
        yield row.step_at, {"event": "attempt_started", "detail": {"n": row.n, "worker": worker}}
        if row.closed_at is not None or row.reason:
            yield row.closed_at or row.step_at, {"event": _ENDS[row.closed], "detail": _end(row)}


def _end(row: Attempt) -> dict[str, Any]:
    return {
        "n": row.n,
        "reason": row.reason,
        "reason_text": reason_text(row.reason),
        "http_status": row.http_status,
        "bytes_left": row.bytes_left,
        "provider_id": row.provider_id,
        "found_by": _FOUND_BY.get(row.bound_by),
    }


def _passport(message: Message) -> Iterator[Entry]:
    for row in PassportEntry.objects.filter(message_id=message.pk):
        yield row.at, {"event": row.event, "detail": row.detail}
