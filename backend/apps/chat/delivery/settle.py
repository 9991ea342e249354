"""How long an unclear send must wait before its absence counts (SETTLE), and how that grows with what is sent.

A text is on the wire at once. A file goes over two lines after its step, ours to Evolution and Evolution's to WhatsApp,
each at CHAT_MEDIA_BYTES_PER_SECOND at the slowest; whatever could still be accepted must be waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import Final as Constant

from django.conf import settings

from apps.chat.models import Delivery

# G + D + V of docs/protocol.md: from the look at the clock to the write, to Evolution's acceptance, to findMessages.
AFTER_THE_BYTES: Constant = 5.0 + 60.0 + 10.0


def line_seconds(kind: int, payload: Mapping[str, Any] | None) -> float:
    """How long what a delivery sends may be on one line; nothing for all but files."""
    size = (payload or {}).get("size", 0) if kind == Delivery.Kind.MEDIA else 0
    return float(size) / settings.CHAT_MEDIA_BYTES_PER_SECOND


def settle_seconds(kind: int, payload: Mapping[str, Any] | None) -> float:
    """SETTLE of a delivery, from its step."""
    return float(settings.CHAT_SEND_SETTLE_SECONDS) + 2 * line_seconds(kind, payload)


def longest_settle_seconds(*, is_file: bool) -> float:
    """SETTLE of the largest there may be, for evidence whose delivery is not known yet."""
    largest = {"size": settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES}
    return settle_seconds(Delivery.Kind.MEDIA if is_file else Delivery.Kind.TEXT, largest)


def finish_seconds(kind: int, payload: Mapping[str, Any] | None) -> float:
    """From before the step to the moment the end of a streamed body may leave at the latest."""
    rest = settings.CHAT_SEND_SETTLE_SECONDS - AFTER_THE_BYTES
    return float(max(settings.CHAT_SEND_FENCE_SECONDS, rest)) + line_seconds(kind, payload)
