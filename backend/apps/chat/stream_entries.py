"""What an entry of a stream says: the JSON of its payload, written and read. No Redis here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

MOST_BYTES = 16 * 1024


class Garbage(ValueError):
    """An entry that is not what producers write; the message says why, without repeating its content."""


class Entry(NamedTuple):
    """A stream entry as read. `payload` is its text, still unchecked."""

    id: str
    payload: str


class WakeUp(NamedTuple):
    """Look at this conversation. The message tells it when the conversation is not named."""

    message_id: UUID | None
    conversation_id: UUID | None = None
    instance_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ReadMark:
    """Tell WhatsApp that we read this message."""

    conversation_id: UUID
    message_id: UUID


def encode(**ids: UUID | str | None) -> str:
    """A JSON object, written by hand: a bulk enqueues tens of thousands a second, and an id needs no escaping."""
    pairs = [
        f'"{name}":"{value}"' if isinstance(value, UUID) else f'"{name}":{json.dumps(value)}'
        for name, value in ids.items()
        if value is not None
    ]
    return f"{{{','.join(pairs)}}}"


def payload_of(one: WakeUp) -> str:
    """The payload of a wake-up."""
    if one.message_id and one.conversation_id and one.instance_id:  # by far the most, and many of them
        return (
            f'{{"message_id":"{one.message_id}","conversation_id":"{one.conversation_id}",'
            f'"instance_id":"{one.instance_id}"}}'
        )
    return encode(message_id=one.message_id, conversation_id=one.conversation_id, instance_id=one.instance_id)


def decode_wake_up(payload: str) -> WakeUp:
    """What a send entry asks for.

    Raises:
        Garbage: it is not what producers write.
    """
    value = _object(payload)
    wake_up = WakeUp(
        _id(value, "message_id"), _id(value, "conversation_id", _known), _id(value, "instance_id", _known)
    )
    if wake_up.message_id is None and wake_up.conversation_id is None:
        raise Garbage("neither message_id nor conversation_id")
    return wake_up


def decode_read_mark(payload: str) -> ReadMark:
    """What a mark-as-read entry asks for.

    Raises:
        Garbage: it is not what producers write.
    """
    value = _object(payload)
    conversation = _id(value, "conversation_id", _known, needed=True)
    message = _id(value, "message_id", needed=True)
    assert conversation and message
    return ReadMark(conversation, message)


def _object(payload: str) -> dict[str, Any]:
    if not payload:
        raise Garbage("no payload field")
    if len(payload) > MOST_BYTES:
        raise Garbage(f"payload of {len(payload)} characters")
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise Garbage("payload is no JSON") from None
    if not isinstance(value, dict):
        raise Garbage("payload is no JSON object")
    return value


@lru_cache(maxsize=4096)
def _known(text: str) -> UUID:
    """Of conversations and instances, which come again and again: reading an id costs as much as reading the JSON."""
    return UUID(text)


def _id(
    value: dict[str, Any], name: str, read: Callable[[str], UUID] = UUID, *, needed: bool = False
) -> UUID | None:
    text: Any = value.get(name)
    if text is None and not needed:
        return None
    try:
        return read(text)
    except (ValueError, TypeError, AttributeError):
        raise Garbage(f"{name} is {'missing' if text is None else 'no UUID'}") from None
