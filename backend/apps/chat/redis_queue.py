"""Driver of the Redis lists in DB 2: the only place that names their keys.

Values are JSON objects, pushed on the left and taken from the right: the oldest first.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import redis
from alrea_sense.redis_url import address
from django.conf import settings

from apps.chat.errors import QueueAway
from apps.chat.outage import Outage
from apps.chat.redis_clients import TROUBLE, sync_client

logger = logging.getLogger(__name__)

QUEUE_PREFIX = "chat:queue:"
REDIS_QUEUE_SEND_MESSAGE = f"{QUEUE_PREFIX}send_message"
REDIS_QUEUE_FETCH_PROFILE_PIC = f"{QUEUE_PREFIX}fetch_profile_pic"
REDIS_QUEUE_FETCH_GROUP_INFO = f"{QUEUE_PREFIX}fetch_group_info"
REDIS_QUEUE_FETCH_CONTACT_NAME = f"{QUEUE_PREFIX}fetch_contact_name"
QUEUES = (
    REDIS_QUEUE_SEND_MESSAGE,
    REDIS_QUEUE_FETCH_PROFILE_PIC,
    REDIS_QUEUE_FETCH_GROUP_INFO,
    REDIS_QUEUE_FETCH_CONTACT_NAME,
)

outage = Outage(logger, "Redis (lists)", address(settings.CHAT_QUEUE_REDIS_URL))


def get_chat_redis_client() -> redis.Redis:
    """The process's shared client for the chat lists (DB 2)."""
    return sync_client(settings.CHAT_QUEUE_REDIS_URL)


def enqueue_message(queue_name: str, payload: dict[str, Any]) -> int:
    """LPUSH the payload; the list's new length.

    Raises:
        QueueAway: Redis does not answer; nothing can be said of the push.
    """
    try:
        length = get_chat_redis_client().lpush(queue_name, json.dumps(payload, separators=(",", ":")))
    except TROUBLE as error:
        outage.failed(error)
        raise QueueAway(f"Redis lists at {address(settings.CHAT_QUEUE_REDIS_URL)} do not answer") from error
    outage.worked()
    return int(length)


def dequeue_message(queue_name: str, timeout: float = 5) -> dict[str, Any] | None:
    """BRPOP the oldest payload, waiting up to `timeout` seconds (at least one); None when there is none.

    For scripts and tests: a blocking call, which an event loop must not make. Whoever takes an item this way owns it.

    Raises:
        QueueAway: Redis does not answer.
        ValueError: the item is no JSON object.
    """
    try:
        return _wait_for(queue_name, max(1.0, float(timeout)))
    except TROUBLE as error:
        raise QueueAway(f"Redis lists at {address(settings.CHAT_QUEUE_REDIS_URL)} do not answer") from error


def _wait_for(queue_name: str, timeout: float) -> dict[str, Any] | None:
    # In slices shorter than the socket's own timeout: a wait as long as it would raise on an empty queue.
    while timeout > 0:
        item = get_chat_redis_client().brpop([queue_name], timeout=min(timeout, 1.0))
        if item is not None:
            return decode(str(item[1]))
        timeout -= 1.0
    return None


def decode(text: str) -> dict[str, Any]:
    """The payload of an item.

    Raises:
        ValueError: it is no JSON object.
    """
    payload = json.loads(text)
    if not isinstance(payload, dict):
        raise ValueError("a list item must be a JSON object")  # noqa: TRY004  (one error for all bad items)
    return payload


def get_list_metrics() -> dict[str, Any]:
    """`{<list>: {name, length}, …, total}`, keyed by the name behind the prefix.

    Raises:
        QueueAway: Redis does not answer.
    """
    try:
        pipe = get_chat_redis_client().pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(queue)
        lengths = pipe.execute()
    except TROUBLE as error:
        raise QueueAway(f"Redis lists at {address(settings.CHAT_QUEUE_REDIS_URL)} do not answer") from error
    rows: dict[str, Any] = {
        queue.removeprefix(QUEUE_PREFIX): {"name": queue, "length": length}
        for queue, length in zip(QUEUES, lengths, strict=True)
    }
    return {**rows, "total": sum(lengths)}
