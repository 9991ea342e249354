"""Driver of the Redis lists in DB 2: what producers and people use. `redis_hands` holds the consumers' side.

| key | type | holds |
|---|---|---|
| chat:queue:<name> | list | items that wait; pushed on the left, taken from the right: the oldest first |
| chat:queue:dead | list | what was given up, the latest first: metadata only |
| chat:lists:hand:<name>:<consumer> | list | items in this consumer's hands |
| chat:lists:hands:<name> | sorted set | consumers by their last sign of life, in milliseconds of the server's clock |
| chat:lists:later:<name> | sorted set | items to be tried again, by when |
| chat:lists:asked:<name>:<digest> | string | this was asked for a short while ago |
| chat:lists:pace:<name>:<instance> | string | until when this instance's turns are given away |

An item is a JSON object. The field `meta`, which consumers write, tells of its tries: `{tries, first_at, reason}`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID

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
REDIS_QUEUE_DEAD = f"{QUEUE_PREFIX}dead"
QUEUES = (
    REDIS_QUEUE_SEND_MESSAGE,
    REDIS_QUEUE_FETCH_PROFILE_PIC,
    REDIS_QUEUE_FETCH_GROUP_INFO,
    REDIS_QUEUE_FETCH_CONTACT_NAME,
)

META: Final = "meta"
LISTS_PREFIX: Final = "chat:lists:"
NOT_ASKED: Final = {-1: "asked", -2: "full"}

# The request and the note that it was made, in one step: a note without its item would keep others from asking.
_ASK: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return -2 end
local length = redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
return length
"""
# Of each list: what waits, what its consumers hold, what is to be tried again; then the length of the dead list.
_FIGURES: Final = """
local told = {}
for i = 1, #KEYS - 1, 3 do
  local held = 0
  for _, consumer in ipairs(redis.call('ZRANGE', KEYS[i + 1], 0, -1)) do
    held = held + redis.call('LLEN', ARGV[(i + 2) / 3] .. consumer)
  end
  told[#told + 1] = {redis.call('LLEN', KEYS[i]), held, redis.call('ZCARD', KEYS[i + 2])}
end
told[#told + 1] = redis.call('LLEN', KEYS[#KEYS])
return told
"""

outage = Outage(logger, "Redis (lists)", address(settings.CHAT_QUEUE_REDIS_URL))


def get_chat_redis_client() -> redis.Redis:
    """The process's shared client for the chat lists (DB 2)."""
    return sync_client(settings.CHAT_QUEUE_REDIS_URL)


def short_name(queue: str) -> str:
    """The list's name behind the prefix."""
    return queue.removeprefix(QUEUE_PREFIX)


def hand_key(queue: str, consumer: str) -> str:
    """The list of what is in a consumer's hands."""
    return f"{LISTS_PREFIX}hand:{short_name(queue)}:{consumer}"


def hands_key(queue: str) -> str:
    """Who takes from this list, by their last sign of life."""
    return f"{LISTS_PREFIX}hands:{short_name(queue)}"


def later_key(queue: str) -> str:
    """Items to be tried again, by when."""
    return f"{LISTS_PREFIX}later:{short_name(queue)}"


def asked_key(queue: str, payload: Mapping[str, Any]) -> str:
    """The note that this was asked for; the same for the same wish, however it is written and however often tried."""
    wish = json.dumps({name: payload[name] for name in sorted(payload) if name != META}, default=str)
    return f"{LISTS_PREFIX}asked:{short_name(queue)}:{hashlib.sha256(wish.encode()).hexdigest()[:32]}"


def encode(payload: Mapping[str, Any]) -> str:
    """An item's text."""
    return json.dumps(payload, separators=(",", ":"))


def _away(error: BaseException | None = None) -> QueueAway:
    if error is not None:
        outage.failed(error)
    return QueueAway(f"Redis lists at {address(settings.CHAT_QUEUE_REDIS_URL)} do not answer")


def enqueue_message(queue_name: str, payload: dict[str, Any]) -> int:
    """LPUSH the payload; the list's new length.

    Raises:
        QueueAway: Redis does not answer; nothing can be said of the push.
    """
    try:
        length = get_chat_redis_client().lpush(queue_name, encode(payload))
    except TROUBLE as error:
        raise _away(error) from error
    outage.worked()
    return int(length)


def enqueue_wake_up(
    message_id: UUID | str | None,
    conversation_id: UUID | str | None = None,
    instance_id: UUID | str | None = None,
) -> int:
    """LPUSH a wake-up onto `chat:queue:send_message`, the list's shape of a stream entry; the list's new length.

    Raises:
        QueueAway: Redis does not answer, or did not a moment ago.
    """
    if not outage.worth_trying:
        raise _away()
    ids = {"message_id": message_id, "conversation_id": conversation_id, "instance_id": instance_id}
    return enqueue_message(
        REDIS_QUEUE_SEND_MESSAGE, {name: str(value) for name, value in ids.items() if value is not None}
    )


def enqueue_once(queue_name: str, payload: Mapping[str, Any]) -> str:
    """LPUSH the payload unless the same was asked for within CHAT_LIST_SAME_SECONDS.

    Returns:
        `queued`; `asked`: not needed, it was asked for a moment ago; `full`: the list is at CHAT_LIST_MAXLEN.

    Raises:
        QueueAway: Redis does not answer, or did not a moment ago.
    """
    if not outage.worth_trying:
        raise _away()
    window = round(settings.CHAT_LIST_SAME_SECONDS * 1000)
    keys = [queue_name, asked_key(queue_name, payload)]
    try:
        script = get_chat_redis_client().register_script(_ASK)
        answer = int(script(keys=keys, args=[encode(payload), max(window, 1), settings.CHAT_LIST_MAXLEN]))
    except TROUBLE as error:
        raise _away(error) from error
    outage.worked()
    return NOT_ASKED.get(answer, "queued")


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
        raise _away(error) from error


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
    """`{<list>: {name, length, in_hand, later}, …, dead: {name, length}, total}`, keyed by the name behind the prefix.

    `length` is what waits, `in_hand` what consumers hold, `later` what is to be tried again; `total` sums the lengths
    of the lists that are worked on.

    Raises:
        QueueAway: Redis does not answer.
    """
    keys = [key for queue in QUEUES for key in (queue, hands_key(queue), later_key(queue))]
    hands = [hand_key(queue, "") for queue in QUEUES]
    try:
        told: Any = get_chat_redis_client().eval(_FIGURES, len(keys) + 1, *keys, REDIS_QUEUE_DEAD, *hands)
    except TROUBLE as error:
        raise _away(error) from error
    *figures, dead = told
    rows: dict[str, Any] = {
        short_name(queue): {"name": queue, "length": length, "in_hand": held, "later": later}
        for queue, (length, held, later) in zip(QUEUES, figures, strict=True)
    }
    total = sum(row["length"] for row in rows.values())
    return {**rows, "dead": {"name": REDIS_QUEUE_DEAD, "length": dead}, "total": total}


def get_dead_items() -> list[dict[str, Any]]:
    """What was given up, the latest first: `{id, queue, reason, tries, first_at, last_at, conversation_id, size}`.

    Raises:
        QueueAway: Redis does not answer.
    """
    try:
        texts: Any = get_chat_redis_client().lrange(REDIS_QUEUE_DEAD, 0, -1)
    except TROUBLE as error:
        raise _away(error) from error
    return [decode(str(text)) for text in texts]


def remove_dead_items(ids: Collection[str]) -> int:
    """Take these out of the dead list; how many there were. What they asked for may be asked for again.

    Raises:
        QueueAway: Redis does not answer.
    """
    wanted = set(ids)
    if not wanted:
        return 0
    try:
        client = get_chat_redis_client()
        pipe = client.pipeline(transaction=False)
        texts: Any = client.lrange(REDIS_QUEUE_DEAD, 0, -1)
        for text in texts:
            if decode(str(text)).get("id") in wanted:
                pipe.lrem(REDIS_QUEUE_DEAD, 1, str(text))
        return sum(pipe.execute())
    except TROUBLE as error:
        raise _away(error) from error
