"""Two yardsticks for the whole path, stream to POST to database to acknowledgement; neither keeps a promise of ours.

`seed`: three loops that read one entry each, one kept httpx client, one ORM get and one update for each message.
`batched`: our HTTP client, 256 in flight, batched reads, updates and acknowledgements; no lanes, claims, evidence,
events or timeline. Both print the processor time of each send.

    python -m bench.inside.yardsticks '{"shape": "seed", "messages": 200, "url": "http://127.0.0.1:9000"}'
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django

django.setup()

import httpx  # noqa: E402
import redis.asyncio  # noqa: E402
from apps.chat.evolution.client import EvolutionClient, InstanceRef  # noqa: E402
from apps.chat.models import Message  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

STREAM, GROUP = "bench:whole", "g"
IN_FLIGHT = 256
_TO_SEND = """
SELECT m.id::text, v.remote_jid, m.content FROM chat_message m JOIN chat_conversation v ON v.id = m.conversation_id
WHERE m.id IN (SELECT value::uuid FROM jsonb_array_elements_text(%s::jsonb))
"""
_SENT = """
UPDATE chat_message m SET provider_id = x.prov, ack = 1, sent_at = clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS x(id uuid, prov text) WHERE m.id = x.id
"""


def queued_ids() -> list[str]:
    """The messages that wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT message_id::text FROM chat_delivery WHERE live ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


async def opened(ids: Sequence[str]) -> redis.asyncio.Redis:
    """A client of a stream that holds them."""
    client = redis.asyncio.Redis.from_url(settings.CHAT_STREAM_REDIS_URL, decode_responses=True)
    await client.delete(STREAM)
    await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    pipe = client.pipeline(transaction=False)
    for one in ids:
        pipe.xadd(STREAM, {"message_id": one})
    await pipe.execute()
    return client


def rows_of(answer: Any) -> list[Any]:
    """The entries of an answer to XREADGROUP, in either of redis-py's shapes."""
    if not answer:
        return []
    rows = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    return list(rows[0]) if rows and isinstance(rows[0][0], (list, tuple)) else list(rows)


class SeedShape:
    """Three loops, one message after the other in each."""

    def __init__(self, client: redis.asyncio.Redis, messages: int, url: str) -> None:
        self._client, self._left, self._url = client, messages, url
        self._http = httpx.AsyncClient(timeout=30, headers={"apikey": "k"})

    async def run(self) -> None:
        """Work until all are sent."""
        await asyncio.gather(*(self._loop(f"worker-{n}") for n in range(3)))
        await self._http.aclose()

    async def _loop(self, name: str) -> None:
        while self._left > 0:
            for entry_id, fields in rows_of(
                await self._client.xreadgroup(GROUP, name, {STREAM: ">"}, count=1, block=100)
            ):
                await self._one(fields["message_id"])
                await self._client.xack(STREAM, GROUP, entry_id)
                self._left -= 1

    async def _one(self, message_id: str) -> None:
        message = await Message.objects.select_related("conversation", "instance").aget(pk=message_id)
        body = {"number": message.conversation.remote_jid.split("@")[0], "text": message.content}
        answer = await self._http.post(f"{self._url}/message/sendText/{message.instance.name}", json=body)
        message.provider_id, message.ack, message.sent_at = answer.json()["key"]["id"], 1, timezone.now()
        await message.asave(update_fields=["provider_id", "ack", "sent_at"])


class OpenGate:
    """Always yes."""

    def may_send(self) -> bool:
        return True

    def may_finish(self) -> bool:
        return True


class Batched:
    """What arrives while a batch runs forms the next one; nothing else is looked after."""

    def __init__(self, client: redis.asyncio.Redis, messages: int, url: str) -> None:
        self._client, self._left = client, messages
        self._ref, self._http = InstanceRef("bench", url, "k"), EvolutionClient()
        self._database = ThreadPoolExecutor(1)
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._done: list[tuple[str, str, str]] = []
        self._some = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until all are recorded."""
        reading = asyncio.create_task(self._read())
        while self._left > 0:
            await self._some.wait()
            self._some.clear()
            done, self._done = self._done, []
            await self._in_database(_SENT, [{"id": one, "prov": prov} for _, one, prov in done])
            pipe = self._client.pipeline(transaction=False)
            pipe.xack(STREAM, GROUP, *(entry for entry, _, _ in done))
            pipe.xdel(STREAM, *(entry for entry, _, _ in done))
            await pipe.execute()
            self._left -= len(done)
        await reading
        await self._http.aclose()

    async def _read(self) -> None:
        while entries := rows_of(await self._client.xreadgroup(GROUP, "w", {STREAM: ">"}, count=256)):
            told = await self._in_database(_TO_SEND, [fields["message_id"] for _, fields in entries])
            known = {one: (jid, text) for one, jid, text in told}
            for entry_id, fields in entries:
                await self._room.acquire()
                one = fields["message_id"]
                task = asyncio.create_task(self._send(entry_id, one, *known[one]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _send(self, entry_id: str, message_id: str, jid: str, text: str) -> None:
        try:
            outcome = await self._http.send_text(
                self._ref, number=jid.split("@")[0], text=text, gate=OpenGate()
            )
            self._done.append((entry_id, message_id, outcome.provider_id or ""))
            self._some.set()
        finally:
            self._room.release()

    async def _in_database(self, text: str, rows: Sequence[Any]) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._database, self._query, text, rows)

    @staticmethod
    def _query(text: str, rows: Sequence[Any]) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(text, [json.dumps(rows)])
            return cursor.fetchall() if cursor.description else []


SHAPES: dict[str, type[SeedShape] | type[Batched]] = {"seed": SeedShape, "batched": Batched}


async def _run(shape: str, ids: Sequence[str], messages: int, url: str) -> None:
    client = await opened(ids)
    cpu = time.process_time()
    await SHAPES[shape](client, messages, url).run()
    cpu = time.process_time() - cpu
    await client.aclose()
    print(json.dumps({"cpu": cpu / messages * 1e6}), flush=True)


def main() -> None:
    """Work off what is queued in the shape that is asked for."""
    given = json.loads(sys.argv[1])
    asyncio.run(_run(ids=queued_ids(), **given))


if __name__ == "__main__":
    main()
