"""Telling WhatsApp what we have read: one call per conversation for all marks that came together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from apps.chat.delivery.engine import Engine
from apps.chat.evolution.client import EvolutionError, InstanceRef, MessageKey
from apps.chat.models import Conversation, Message


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a receipt did not go out, and whether trying again can help."""

    reason: str
    permanent: bool

    def error(self) -> EvolutionError:
        """The problem as an exception."""
        return EvolutionError(self.reason, permanent=self.permanent, status=None, where="mark as read")


@dataclass(frozen=True, slots=True)
class _Case:
    ref: InstanceRef
    keys: tuple[MessageKey, ...]


class ReadReceipts:
    """Sends read receipts through the engine's client and database thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def send(self, conversation_id: UUID, message_ids: Sequence[UUID]) -> Problem | None:
        """Mark these incoming messages as read at WhatsApp; None when it worked or there was nothing to mark."""
        try:
            case = await self._engine.database.call(lambda: _case(conversation_id, message_ids))
        except Exception as error:  # the database is away: the entries come back
            return Problem(type(error).__name__, permanent=False)
        if case is None:
            return None
        try:
            await self._engine.client.mark_as_read(case.ref, case.keys)
        except EvolutionError as error:
            return Problem(error.reason, error.permanent)
        return None


def _case(conversation_id: UUID, message_ids: Sequence[UUID]) -> _Case | None:
    conversation = Conversation.objects.select_related("instance").filter(pk=conversation_id).first()
    if conversation is None:
        return None
    rows = Message.objects.filter(
        pk__in=message_ids,
        conversation=conversation,
        direction=Message.Direction.INCOMING,
        provider_id__isnull=False,
    )
    keys = tuple(
        MessageKey(
            id=row.provider_id or "", remote_jid=conversation.remote_jid, participant=row.author_jid or None
        )
        for row in rows
    )
    instance = conversation.instance
    return _Case(InstanceRef(instance.name, instance.base_url, instance.api_key), keys) if keys else None
