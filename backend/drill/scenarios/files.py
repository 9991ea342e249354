"""Customers' files while the broker or the storage is away. Their pictures all differ, as do their bytes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import time
from collections import Counter
from typing import Final

import aio_pika
from PIL import Image
from testing.rabbitmq import RabbitServer

from drill.scenario import Drill, scenario

QUEUE: Final = "chat_process_incoming_media"
MOST_FILES = 300
FILES_A_SECOND = 15.0
FETCHED_SECONDS = 120.0
CONSUMER_SECONDS = 30.0


def _picture(number: int) -> bytes:
    """A PNG whose bytes no other number has."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, 77)).save(out, "PNG")
    return out.getvalue()


class Pictures:
    """Customers' pictures at a steady pace, to one conversation."""

    def __init__(self, drill: Drill) -> None:
        self._drill, self._lane = drill, drill.lanes(1)[0]
        self.sent: list[str] = []
        """SHA-256 of each."""

    def send(self, count: int) -> None:
        """This many more."""
        for _ in range(count):
            data = _picture(len(self.sent))
            body = {"instance": "drill", "kind": "image", "base64": base64.b64encode(data).decode()}
            self._drill.world.simulator.control("POST", f"customers/{self._lane.phone}/say", body)
            self.sent.append(hashlib.sha256(data).hexdigest())
            time.sleep(1 / FILES_A_SECOND)

    def check(self) -> None:
        """Each is kept, in one row, and can be read."""
        drill = self._drill
        took = drill.wait_for(lambda: len(self._kept()) >= len(self.sent), FETCHED_SECONDS, "the last file")
        kept = self._kept()
        drill.figure("files", len(self.sent))
        drill.figure("fetched_after", took)
        drill.check(Counter(kept) == Counter(self.sent), f"{len(kept)} files are kept of {len(self.sent)}")
        unread = [url for url in self._links() if not drill.tenant.http.get(url).is_success]
        drill.check(not unread, f"{len(unread)} files of the thread's last page cannot be read")

    def _kept(self) -> list[str]:
        rows = self._drill.world.database.select(
            "SELECT sha256 FROM chat_messageattachment WHERE status = 'completed'"
        )
        return [sha256 for (sha256,) in rows]

    def _links(self) -> list[str]:
        thread = self._drill.tenant.call("GET", f"conversations/{self._lane.conversation}/messages/")
        return [file["url"] for message in thread["results"] for file in message["attachments"]]


def _begun(drill: Drill) -> tuple[Pictures, int]:
    """Workers for messages and files, some pictures fetched; and a third of what is to be sent."""
    drill.warm_up()
    drill.worker()
    drill.world.media_worker()
    pictures, third = Pictures(drill), max(min(drill.messages, MOST_FILES) // 3, 1)
    pictures.send(third)
    return pictures, third


@scenario(
    34,
    "broker-away",
    "RabbitMQ killed with kill -9 under customers' files, started again; then its queue deleted",
    f"its consumer is back within {CONSUMER_SECONDS:g} s; every file is kept once",
    broker=True,
)
def broker_away(drill: Drill) -> None:
    broker = drill.world.broker
    assert broker is not None
    pictures, third = _begun(drill)
    broker.kill()
    drill.say("kill -9 of RabbitMQ")
    pictures.send(third)
    broker.start(60)
    drill.say("RabbitMQ is back")
    _consumer_back(drill, broker, "back_after_kill")
    asyncio.run(_on_queue(broker, delete=True))
    drill.say("its queue is deleted")
    pictures.send(third)
    _consumer_back(drill, broker, "back_after_delete")
    pictures.check()
    drill.settle()


def _consumer_back(drill: Drill, broker: RabbitServer, figure: str) -> None:
    took = drill.wait_for(lambda: asyncio.run(_on_queue(broker)), CONSUMER_SECONDS, "the queue's consumer")
    drill.figure(figure, took)


async def _on_queue(broker: RabbitServer, *, delete: bool = False) -> int:
    """How many consumers the queue has; 0 when there is none."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        try:
            queue = await channel.get_queue(QUEUE, ensure=True)
        except aio_pika.exceptions.ChannelClosed:
            return 0
        if delete:
            await queue.delete(if_unused=False, if_empty=False)
        return int(queue.declaration_result.consumer_count or 0)


@scenario(
    38,
    "storage-away",
    "the bucket for files away under customers' files: first silent, then refusing connections",
    "every file is kept once afterwards",
    bucket=True,
)
def storage_away(drill: Drill) -> None:
    bucket = drill.world.bucket
    assert bucket is not None
    pictures, third = _begun(drill)
    bucket.delay(10)
    drill.say("the storage takes 10 s for each answer")
    pictures.send(third)
    bucket.refuse(True)
    drill.say("and now refuses every connection")
    pictures.send(third)
    bucket.behave()
    drill.say("the storage is back")
    pictures.check()
    drill.settle()
