"""A stretch of the journal, read: which webhooks are of the common kinds, and what cuts the stretch.

Messages, acks, edits and deletions name the message and the chat they speak of. What names neither (the link to
WhatsApp, calls, groups, address books, history) may touch anything: nothing passes it in either direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from apps.chat import contacts, inbound
from apps.chat.evolution.events import (
    HISTORY,
    DeleteEvent,
    EditEvent,
    IgnoredEvent,
    MessageEvent,
    StatusEvent,
)
from apps.chat.inbound import messages, reactions
from apps.chat.media import limits
from apps.chat.models import WebhookEvent

Name = tuple[UUID, str]
"""An instance, and the id of a message on it."""

_FILES_AND_REACTIONS: Final = frozenset({reactions.KIND, *limits.KINDS})


@dataclass(frozen=True, slots=True)
class Said:
    """A journal row: which messages it speaks of, and in which chat (its people's JIDs by canonical key)."""

    row: WebhookEvent
    names: frozenset[Name] = frozenset()
    people: Mapping[str, str] = field(default_factory=dict)
    cuts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Said):
    """A customer's message without a file. `speaker`: who speaks in a group, when several JIDs of theirs are told."""

    name: Name
    event: MessageEvent
    speaker: Mapping[str, str]

    @property
    def quoted(self) -> Name | None:
        """What it answers."""
        return (self.row.instance_id, self.event.quoted_id) if self.event.quoted_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo(Said):
    """A message from our own number."""

    name: Name
    event: MessageEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked(Said):
    """How far a message came, without an error."""

    name: Name
    rank: int


def runs(rows: Sequence[WebhookEvent]) -> Iterator[list[Said]]:
    """The rows in their order, cut before and after each that may touch anything."""
    run: list[Said] = []
    for said in map(read, rows):
        if said.cuts and run:
            yield run
            run = []
        run.append(said)
        if said.cuts:
            yield run
            run = []
    if run:
        yield run


def read(row: WebhookEvent) -> Said:
    """What a journal row speaks of."""
    events = inbound.events_of(row.body)
    event = events[0] if len(events) == 1 else None
    if isinstance(event, IgnoredEvent):
        return Said(row)
    if not isinstance(event, MessageEvent | StatusEvent | EditEvent | DeleteEvent):
        return Said(row, cuts=True)
    if len(event.key_id) > messages.ID_LENGTH:
        return Said(row)
    name = (row.instance_id, event.key_id)
    if isinstance(event, MessageEvent):
        return _message(row, event, name)
    if isinstance(event, StatusEvent) and event.rank is not None and not (event.error or event.deleted):
        return Acked(row, frozenset({name}), name=name, rank=event.rank)
    return Said(row, frozenset({name}))


def _message(row: WebhookEvent, event: MessageEvent, name: Name) -> Said:
    names = frozenset({name, (row.instance_id, event.target_id or event.key_id)})
    people = contacts.by_key(messages.addresses(event))
    if event.from_me and event.kind != reactions.KIND and event.source_event != HISTORY:
        return Echo(row, names, people, name=name, event=event)
    if event.from_me or event.kind in _FILES_AND_REACTIONS or event.source_event == HISTORY or not people:
        return Said(row, names, people)
    return Text(row, names, people, name=name, event=event, speaker=contacts.by_key(messages.speaker(event)))
