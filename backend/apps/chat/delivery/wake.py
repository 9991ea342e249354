"""Saying "look at this lane" after a commit, through Redis or, when that is away, through the row's own alarm."""

from __future__ import annotations

from uuid import UUID

from apps.chat import redis_streams
from apps.chat.delivery import lane
from apps.chat.errors import QueueAway
from apps.chat.models import Delivery


def wake_lane(conversation_id: UUID, instance_id: UUID) -> None:
    """Announce that a lane may move. Losing the announcement costs time, doubling it costs nothing."""
    try:
        redis_streams.enqueue_send_message(None, conversation_id, instance_id)
    except QueueAway:
        lane.ring(conversation_id)


def wake_rest(conversation_id: UUID, instance_id: UUID) -> None:
    """Announce a lane whose head went away, if anything waits behind it."""
    if Delivery.objects.filter(conversation_id=conversation_id, live=True).exists():
        wake_lane(conversation_id, instance_id)
