"""The waist between callers and workers: producers with `.delay`, and the handlers workers run. Thin on purpose.

Producers never carry a credential and never fail because Redis is away: what they announce is a row in the database,
and the sweeper finds it.
"""

from __future__ import annotations

import logging
from uuid import UUID

from django.conf import settings

from apps.chat import redis_queue, redis_streams
from apps.chat.delivery import lane, person
from apps.chat.delivery.engine import Engine
from apps.chat.enrichment.asking import fetch_contact_name, fetch_group_info, fetch_profile_pic
from apps.chat.errors import NotFound, QueueAway
from apps.chat.models import Message
from apps.chat.read_receipts import ReadReceipts

__all__ = [
    "edit_message",
    "enqueue_mark_as_read",
    "fetch_contact_name",
    "fetch_group_info",
    "fetch_profile_pic",
    "handle_mark_message_as_read",
    "handle_send_message",
    "send_message_to_evolution",
]

logger = logging.getLogger(__name__)


class send_message_to_evolution:
    """Producer: wake the conversation of a message that is queued in the database."""

    @staticmethod
    def delay(
        message_id: UUID | str,
        conversation_id: UUID | str | None = None,
        instance_id: UUID | str | None = None,
    ) -> None:
        """Announce the message on the stream (or the list, by CHAT_SEND_TRANSPORT). Call it after commit.

        Naming the conversation and instance saves a look-up. When Redis is away the sweeper is told instead.
        """
        try:
            if settings.CHAT_SEND_TRANSPORT == "list":
                redis_queue.enqueue_wake_up(message_id, conversation_id, instance_id)
            elif not _nudged(message_id, conversation_id, instance_id):
                redis_streams.enqueue_send_message(message_id, conversation_id, instance_id)
        except QueueAway:
            _ring(message_id, conversation_id)


def _nudged(
    message_id: UUID | str, conversation_id: UUID | str | None, instance_id: UUID | str | None
) -> bool:
    """Whether this process looks at the lane itself, at once; it then writes the wake-up, too."""
    if conversation_id is None or instance_id is None:
        return False
    ids = UUID(str(message_id)), UUID(str(conversation_id)), UUID(str(instance_id))
    return Engine.nudge(redis_streams.WakeUp(*ids))


def _ring(message_id: UUID | str, conversation_id: UUID | str | None) -> None:
    if conversation_id is None:
        conversation_id = (
            Message.objects.filter(pk=message_id).values_list("conversation_id", flat=True).first()
        )
    if conversation_id is not None:
        lane.ring(UUID(str(conversation_id)))


class edit_message:
    """Producer: change a message's text, in its row while it waits, else at WhatsApp, in the lane's order."""

    @staticmethod
    def delay(message_id: UUID | str, new_content: str, edited_by_id: UUID | str | None = None) -> None:
        """Ask for the edit.

        Raises:
            NotFound: there is no such message of ours.
            Conflict: it never went out, or is deleted.
        """
        tenant_id = Message.objects.filter(pk=message_id).values_list("tenant_id", flat=True).first()
        if tenant_id is None:
            raise NotFound(f"There is no message {message_id}.")
        pk = UUID(str(message_id))
        if not person.edit(pk, tenant_id, new_content):
            person.change_at_whatsapp(pk, tenant_id, new_content)
        logger.info("edit asked for", extra={"message": str(pk), "by": str(edited_by_id or "")})


def enqueue_mark_as_read(conversation_id: UUID | str, message_id: UUID | str) -> None:
    """Ask for a read receipt. Call it after commit. With Redis away it is left out: the next one covers it."""
    try:
        redis_streams.enqueue_mark_as_read(conversation_id, message_id)
    except QueueAway:
        logger.info("read receipt left out", extra={"conversation": str(conversation_id)})


async def handle_send_message(message_id: UUID | str) -> None:
    """Work the conversation of this message until its lane has nothing to give.

    The delivery's row says what became of it; calling this twice, or beside running workers, sends nothing twice.

    Raises:
        NotFound: there is no such message.
    """
    place = await Message.objects.filter(pk=message_id).values_list("conversation_id", flat=True).afirst()
    if place is None:
        raise NotFound(f"There is no message {message_id}.")
    async with Engine.current_or_new() as engine:
        await engine.work(place)


async def handle_mark_message_as_read(conversation_id: UUID | str, message_id: UUID | str) -> None:
    """Send the read receipt of one message.

    Raises:
        EvolutionError: it did not go out.
    """
    async with Engine.current_or_new() as engine:
        problem = await ReadReceipts(engine).send(UUID(str(conversation_id)), [UUID(str(message_id))])
    if problem is not None:
        raise problem.error()
