"""An item of a list as consumers see it: whose it is, and how often it was tried."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID, uuid4

from django.conf import settings

from apps.chat.redis_hands import now
from apps.chat.redis_queue import META, decode, encode

MOST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """`payload` is what the producer wrote; only its conversation outlives the first try: others wrote more.

    `tries` counts real attempts and deaths in a consumer's hands, `first_at` (seconds since 1970) tells when the first
    of them was, `turn` that it holds its instance's turn.
    """

    payload: Mapping[str, Any]
    tries: int = 0
    first_at: float | None = None
    reason: str = ""
    turn: bool = False

    @classmethod
    def read(cls, text: str) -> Self:
        """Read an item's text.

        Raises:
            ValueError: it is none.
        """
        if len(text) > MOST_BYTES:
            raise ValueError("too long")
        payload = decode(text)
        UUID(str(payload.get("conversation_id")))
        return cls(payload, **_meta(payload.get(META)))

    @property
    def wish(self) -> dict[str, Any]:
        """What it asks for, as producers of this release write it."""
        return {"conversation_id": str(self.payload["conversation_id"])}

    @property
    def age(self) -> float:
        """Seconds since it was first tried."""
        return now() - self.first_at if self.first_at is not None else 0.0

    def tried(self, reason: str) -> Item:
        """One attempt more, which failed."""
        return replace(self, tries=self.tries + 1, first_at=self.first_at or now(), reason=reason, turn=False)

    def waiting(self, reason: str, *, turn: bool) -> Item:
        """Put off without an attempt."""
        return replace(self, first_at=self.first_at or now(), reason=reason, turn=turn)

    def text(self) -> str:
        """What is written for the next try."""
        meta = {"tries": self.tries, "first_at": self.first_at, "reason": self.reason, "turn": self.turn}
        return encode({**self.wish, META: meta})

    def letter(self, queue: str) -> dict[str, Any]:
        """What the dead list tells of it."""
        return {
            "id": _letter_id(),
            "queue": queue,
            "reason": self.reason,
            "tries": self.tries,
            "first_at": self.first_at,
            "last_at": now(),
            **self.wish,
        }


def garbage_letter(queue: str, text: str) -> dict[str, Any]:
    """What the dead list tells of an item that cannot be read: nothing of its content."""
    return {
        "id": _letter_id(),
        "queue": queue,
        "reason": "garbage",
        "tries": 0,
        "last_at": now(),
        "size": len(text),
    }


def _letter_id() -> str:
    """Unlike a stream's entry ids, so that `chat_dead_letters` can tell them apart."""
    return f"list-{uuid4().hex[:12]}"


def pause_after(tries: int) -> float:
    """Seconds until the next try: doubling, bounded, and spread so that a crowd does not come back as one."""
    longest = float(settings.CHAT_RETRY_MAX_SECONDS)
    return min(settings.CHAT_RETRY_BASE_SECONDS * 2.0 ** min(tries - 1, 30), longest) * random.uniform(
        0.5, 1.0
    )


def _meta(value: object) -> dict[str, Any]:
    """What we wrote ourselves; anything else counts as nothing."""
    meta = value if isinstance(value, dict) else {}
    tries, first_at, reason = meta.get("tries"), meta.get("first_at"), meta.get("reason")
    return {
        "tries": tries if isinstance(tries, int) and 0 <= tries <= 10_000 else 0,
        "first_at": float(first_at) if isinstance(first_at, int | float) else None,
        "reason": reason[:64] if isinstance(reason, str) else "",
        "turn": meta.get("turn") is True,
    }
