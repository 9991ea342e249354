"""The passport: what befell a message, append-only, beside what its attempts and acks already tell."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.chat.models import PassportEntry


def write(message_id: UUID, event: str, detail: dict[str, Any] | None = None) -> None:
    """Add an entry. Never a text, a full number or a credential in `detail`."""
    PassportEntry.objects.create(message_id=message_id, event=event, detail=detail or {})
