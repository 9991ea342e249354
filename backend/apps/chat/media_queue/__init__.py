"""RabbitMQ: the queue that wakes media workers. The only place that names exchanges and queues, or imports aio-pika.

    chat_process_incoming_media             durable, quorum; what it drops goes to the dead exchange
    chat_process_incoming_media.later.<s>   durable; a message stays s seconds, then returns to the queue above
    chat_process_incoming_media.dead        exchange and queue: garbage, and what was delivered too often

A message is persistent JSON of ids, `{"v": 1, "attachment_id": …, "message_id": …}`: a wake-up, never the truth. It is
published with confirms and `mandatory`, and acknowledged by hand.
"""

from __future__ import annotations

from django.conf import settings

from apps.chat.media_queue.consumer import Consumer, NotTaken
from apps.chat.media_queue.publisher import announce, get_media_queue_metrics, stop
from apps.chat.media_queue.wire import DEAD, QUEUE, Garbage, decode, encode, later_queue

__all__ = [
    "DEAD",
    "QUEUE",
    "Consumer",
    "Garbage",
    "NotTaken",
    "announce",
    "configured",
    "decode",
    "encode",
    "get_media_queue_metrics",
    "later_queue",
    "stop",
]


def configured() -> bool:
    """Is there a RabbitMQ?"""
    return bool(settings.RABBITMQ_URL)
