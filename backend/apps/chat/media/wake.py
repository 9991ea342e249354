"""Saying that an attachment is due: to a worker of this process, and to all others through RabbitMQ.

Losing it costs time, doubling it costs nothing: whoever looks finds what the row says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

from apps.chat import media_queue

_listeners: set[Callable[[UUID], None]] = set()
_lock = threading.Lock()


def wake(attachment_id: UUID, message_id: UUID | None = None) -> None:
    """Announce it. Never blocks, never raises; call it after commit, from any thread."""
    if media_queue.configured():
        media_queue.announce(attachment_id, message_id)
        return
    with _lock:
        listeners = list(_listeners)
    for listener in listeners:
        listener(attachment_id)


def listen(listener: Callable[[UUID], None]) -> None:
    """Have `listener` called, in whatever thread announces, while there is no RabbitMQ."""
    with _lock:
        _listeners.add(listener)


def unlisten(listener: Callable[[UUID], None]) -> None:
    """Stop that."""
    with _lock:
        _listeners.discard(listener)
