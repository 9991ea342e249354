"""Telling WhatsApp what we have read: one call per conversation for all marks that came together.

When, is the number's policy (`Instance.read_receipts`): never, when somebody opens the conversation, or when we answer.
Receipts name the messages one by one: those that were read together with the marked one go along. Evolution drops keys
of LIDs and says success (EVOLUTION.md 0.8), so a phone address is used wherever one is known. What fails shows on the
instance.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now

from apps.chat.delivery.engine import Engine
from apps.chat.evolution import jids
from apps.chat.evolution.client import EvolutionError, InstanceRef, MessageKey
from apps.chat.models import ContactJid, Conversation, Instance, Message
from apps.chat.models.messages import CALL, NOTE

logger = logging.getLogger(__name__)

Policy = Instance.ReadReceipts
MOST_KEYS: Final = 200
NO_NUMBER: Final = "receipt_needs_number"


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
    instance_id: UUID
    ref: InstanceRef
    keys: tuple[MessageKey, ...]
    was_failing: bool


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
        problem = await self._tell(case)
        if problem is not None or case.was_failing:
            await self._note(case, problem)
        return problem if problem is None or problem.reason != NO_NUMBER else None

    async def _tell(self, case: _Case) -> Problem | None:
        if any(jids.is_lid(key.remote_jid) for key in case.keys):
            return Problem(NO_NUMBER, permanent=True)
        try:
            await self._engine.client.mark_as_read(case.ref, case.keys)
        except EvolutionError as error:
            return Problem(error.reason, error.permanent)
        return None

    async def _note(self, case: _Case, problem: Problem | None) -> None:
        """Show on the instance that receipts fail, or that they go out again."""
        try:
            await self._engine.database.call(lambda: _note(case.instance_id, problem))
        except Exception as error:  # the receipt itself is what counts
            logger.warning("a failed receipt was not noted", extra={"error": type(error).__name__})


def _note(instance_id: UUID, problem: Problem | None) -> None:
    rows = Instance.objects.filter(pk=instance_id)
    if problem is None:
        rows.update(receipt_failed_at=None, receipt_reason="")
    else:
        rows.update(receipt_failed_at=Now(), receipt_reason=problem.reason[:40])


def _case(conversation_id: UUID, message_ids: Sequence[UUID]) -> _Case | None:
    rows = Conversation.objects.select_related("instance").defer("instance__webhook_secret", "instance__qr")
    conversation = rows.filter(pk=conversation_id).first()
    if conversation is None or conversation.instance.read_receipts == Policy.NEVER:
        return None
    if conversation.instance.read_receipts == Policy.ON_REPLY:
        found = _answered(conversation)
    else:
        found = _read_together(conversation, message_ids)
    instance = conversation.instance
    keys = _keys(conversation, list(found.order_by("-sort_at", "-id")[:MOST_KEYS]))
    if not keys:
        return None
    ref = InstanceRef(instance.name, instance.base_url, instance.api_key)
    return _Case(instance.pk, ref, keys, instance.receipt_failed_at is not None)


def _theirs(conversation: Conversation) -> QuerySet[Message]:
    """What WhatsApp can be told about: notes are nobody's messages."""
    return Message.objects.filter(
        conversation=conversation, direction=Message.Direction.INCOMING, provider_id__isnull=False
    ).exclude(kind__in=(CALL, NOTE))


def _read_together(conversation: Conversation, message_ids: Sequence[UUID]) -> QuerySet[Message]:
    """The marked messages, and those that one press marked with them: they were read at the same moment."""
    moments = Message.objects.filter(pk__in=message_ids, conversation=conversation, read_at__isnull=False)
    at = list(moments.values_list("read_at", flat=True))
    return _theirs(conversation).filter(Q(pk__in=message_ids) | Q(read_at__in=at))


def _answered(conversation: Conversation) -> QuerySet[Message]:
    """What our latest answer came after, back to the answer before it."""
    ours = Message.objects.filter(conversation=conversation, origin=Message.Origin.API)
    latest = ours.aggregate(at=Max("sort_at"))["at"]
    if latest is None:
        return Message.objects.none()
    answered = _theirs(conversation).filter(sort_at__lte=latest, read_at__isnull=False)
    newest = answered.aggregate(at=Max("sort_at"))["at"]
    before = ours.filter(sort_at__lt=newest).aggregate(at=Max("sort_at"))["at"] if newest else None
    return answered.filter(sort_at__gt=before) if before else answered


def _keys(conversation: Conversation, rows: Sequence[Message]) -> tuple[MessageKey, ...]:
    remote_jid = conversation.remote_jid
    if jids.is_lid(remote_jid):
        remote_jid = _phone_of(conversation) or remote_jid
    return tuple(
        MessageKey(id=row.provider_id or "", remote_jid=remote_jid, participant=row.author_jid or None)
        for row in rows
    )


def _phone_of(conversation: Conversation) -> str | None:
    """The contact's phone address as WhatsApp spelt it."""
    held = ContactJid.objects.filter(contact_id=conversation.contact_id).order_by("id")
    return next((jid for jid in held.values_list("jid", flat=True) if jids.is_phone(jid)), None)
