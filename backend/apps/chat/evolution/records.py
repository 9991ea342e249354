"""Rows of Evolution's own database, as they are: for comparing what it holds with what we hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .client import EvolutionClient, EvolutionError, InstanceRef
from .events import MessageEvent, message_from_record
from .queries import find_messages_body
from .wire import long_of, mapping_of

__all__ = ["Record", "RecordPage", "find_records"]


@dataclass(frozen=True, slots=True)
class Record:
    """One stored message: what it says, its row as it came, and what befell it."""

    message: MessageEvent
    row: Mapping[str, object]
    deleted: bool
    edited: bool


@dataclass(frozen=True, slots=True)
class RecordPage:
    """One page, newest first; `pages` is how many there are."""

    records: list[Record]
    pages: int


async def find_records(
    client: EvolutionClient,
    ref: InstanceRef,
    *,
    gte: datetime,
    lte: datetime,
    page: int = 1,
    page_size: int = 100,
    from_me: bool | None = None,
) -> RecordPage:
    """One page of the whole instance's messages between two aware datetimes.

    Raises EvolutionError, also for an answer of another shape.
    """
    payload = find_messages_body("", gte, lte, from_me, page, page_size)
    body = await client.ask(ref, "POST", "chat", "findMessages", payload)
    found = mapping_of(mapping_of(body).get("messages"))
    rows = found.get("records")
    if not isinstance(rows, list):
        where = f"findMessages at {ref.address}"
        raise EvolutionError("unexplained_answer", permanent=False, status=200, where=where)
    read = [_record(mapping_of(row), ref.name) for row in rows]
    return RecordPage([one for one in read if one is not None], long_of(found.get("pages")) or 0)


def _record(row: Mapping[str, object], instance_name: str) -> Record | None:
    message = message_from_record(row, instance_name)
    if message is None:
        return None
    updates = row.get("MessageUpdate")
    words = {mapping_of(one).get("status") for one in updates} if isinstance(updates, list) else set()
    deleted = "DELETED" in words or mapping_of(row.get("key")).get("deleted") is True
    return Record(message, row, deleted, "EDITED" in words)
