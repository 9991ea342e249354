"""WhatsApp's times, which are whole seconds, beside ours, which are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

RECOVERED_AFTER: Final = timedelta(seconds=120)
_SECONDS_END: Final = timedelta(milliseconds=999)
# A clock this far ahead of ours is broken; its messages would stay on top of the list for ever.
_TRUSTED_AHEAD: Final = timedelta(hours=1)
_FIRST: Final = datetime(2009, 1, 1, tzinfo=UTC)


def sent_time(timestamp: int | None, received_at: datetime) -> datetime:
    """The second in which a message was written; the time of receipt when WhatsApp's is missing or absurd."""
    if timestamp is None:
        return received_at
    at = datetime.fromtimestamp(timestamp, UTC)
    return at if _FIRST <= at <= received_at + _TRUSTED_AHEAD else received_at


def sort_time(timestamp: int | None, received_at: datetime) -> datetime:
    """Where a message stands in the thread: at the end of its second, but not after we received it.

    WhatsApp cuts the fraction off. At the start of the second, an answer to what we sent in that same second
    would stand above it; at its end it stands below. And no message was written after it was received, so
    that our own answer within the second stands below it in turn.
    """
    start = sent_time(timestamp, received_at)
    return max(start, min(start + _SECONDS_END, received_at))


def is_recovered(timestamp: int | None, received_at: datetime) -> bool:
    """Did it arrive so long after it was written that it was missed at first (the number or we were away)?"""
    return received_at - sent_time(timestamp, received_at) > RECOVERED_AFTER


def edit_time(timestamp_ms: int | None, received_at: datetime) -> datetime:
    """When an edit was made; the time of receipt when WhatsApp's is missing or absurd."""
    if timestamp_ms is None or timestamp_ms <= 0:
        return received_at
    try:
        at = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return received_at
    return at if _FIRST <= at <= received_at + _TRUSTED_AHEAD else received_at
