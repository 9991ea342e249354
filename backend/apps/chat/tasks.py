"""The waist between callers and workers: producers with `.delay`, and the handlers workers run. Thin on purpose.

Producers never carry a credential and never fail because Redis is away: what they announce is a row in the database,
and the sweeper finds it.
"""

from __future__ import annotations

import logging
from uuid import UUID

from django.conf import settings

from apps.chat import redis_queue, redis_streams
from apps.chat.delivery import lane
from apps.chat.errors import QueueAway
from apps.chat.models import Message

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
                redis_queue.enqueue_message(
                    redis_queue.REDIS_QUEUE_SEND_MESSAGE, {"message_id": str(message_id)}
                )
            else:
                redis_streams.enqueue_send_message(message_id, conversation_id, instance_id)
        except QueueAway:
            _ring(message_id, conversation_id)


def _ring(message_id: UUID | str, conversation_id: UUID | str | None) -> None:
    if conversation_id is None:
        conversation_id = (
            Message.objects.filter(pk=message_id).values_list("conversation_id", flat=True).first()
        )
    if conversation_id is not None:
        lane.ring(UUID(str(conversation_id)))


def enqueue_mark_as_read(conversation_id: UUID | str, message_id: UUID | str) -> None:
    """Ask for a read receipt. Call it after commit. With Redis away it is left out: the next one covers it."""
    try:
        redis_streams.enqueue_mark_as_read(conversation_id, message_id)
    except QueueAway:
        logger.info("read receipt left out", extra={"conversation": str(conversation_id)})
