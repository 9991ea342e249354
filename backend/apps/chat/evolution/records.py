"""Rows of Evolution's own database, as they are: for comparing what it holds with what we hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .client import EvolutionClient, EvolutionError, InstanceRef
from .events import MessageEvent, message_from_record
from .queries import find_messages_body
from .wire import long_of, mapping_of

__all__ = ["Record", "RecordPage", "find_records", "find_statuses"]


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


async def find_statuses(client: EvolutionClient, ref: InstanceRef, key_id: str) -> Record | None:
    """What befell one message, without what it says; None when Evolution has stored nothing about it.

    By id alone: the address it was stored under is not always the one that we know (EVOLUTION.md, section 4b).
    Raises EvolutionError, also for an answer of another shape.
    """
    body = await client.ask(ref, "POST", "chat", "findStatusMessage", {"where": {"id": key_id}})
    if not isinstance(body, list):
        where = f"findStatusMessage at {ref.address}"
        raise EvolutionError("unexplained_answer", permanent=False, status=200, where=where)
    updates = [update for update in map(mapping_of, body) if update.get("keyId") == key_id]
    if not updates:
        return None
    names = ("remoteJid", "fromMe", "participant")
    key = {"id": key_id, **{name: updates[0].get(name) for name in names}}
    return _record({"key": key, "MessageUpdate": updates}, ref.name)


def _record(row: Mapping[str, object], instance_name: str) -> Record | None:
    message = message_from_record(row, instance_name)
    if message is None:
        return None
    updates = row.get("MessageUpdate")
    words = {mapping_of(one).get("status") for one in updates} if isinstance(updates, list) else set()
    deleted = "DELETED" in words or mapping_of(row.get("key")).get("deleted") is True
    return Record(message, row, deleted, "EDITED" in words)
