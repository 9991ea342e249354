"""Rows for a measurement: `python -m bench.inside.seed '{"do": "tenant", …}'`; prints one JSON object.

| do | what |
|---|---|
| tenant | a tenant, an agent with a token, one open number, and `conversations` conversations |
| queued | `messages` queued messages over the first `lanes` conversations, texts `<tag>-<n>`; nobody is woken |
| history | `messages` finished messages over `conversations` conversations: half of them sent, half received |
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django

Json = dict[str, Any]
PASSWORD = "only-for-the-bench-1"  # noqa: S105
NAME = "bench"


def main() -> None:
    """Do what the one argument asks for."""
    asked = json.loads(sys.argv[1])
    django.setup()
    from bench.inside.rows import prepare

    prepare()
    known: dict[str, Callable[..., Json]] = {"tenant": tenant, "queued": queued, "history": history}
    work = known[asked.pop("do")]
    print(json.dumps(work(**asked)))


def tenant(evolution_url: str, conversations: int) -> Json:
    """What `chat_bootstrap --json` prints; the number is connected."""
    from apps.chat.models import Instance
    from django.core.management import call_command

    printed = io.StringIO()
    options = {"tenant": NAME, "email": "bench@example.org", "password": PASSWORD, "instance": NAME}
    call_command(
        "chat_bootstrap", **options, evolution_url=evolution_url, api_key="k", json=True, stdout=printed
    )
    Instance.objects.update(connection=Instance.Connection.OPEN, owner_jid="5511000000000@s.whatsapp.net")
    _conversations(conversations)
    told: Json = json.loads(printed.getvalue())
    return told


def _conversations(count: int) -> None:
    from apps.chat.models import Contact, Conversation, Instance

    from bench.inside.rows import insert_many

    number = Instance.objects.get()
    source, phone = f"generate_series(1, {count}) AS n", "'5511' || (900000000 + n)"
    contact = Contact(tenant_id=number.tenant_id)
    insert_many(contact, source, {"id": _id("'c' || n"), "phone": phone, "name": "'Customer ' || n"})
    insert_many(
        Conversation(tenant_id=number.tenant_id, instance=number),
        source,
        {
            "id": _id("'v' || n"),
            "contact_id": _id("'c' || n"),
            "remote_jid": f"{phone} || '@s.whatsapp.net'",
            "last_message_at": "statement_timestamp() - n * interval '1 s'",
        },
    )
    _settle()


def _id(name: str, ms: str = "1700000000000") -> str:
    return f"pg_temp.id_of({ms}, {name})"


def queued(tag: str, messages: int, lanes: int) -> Json:
    """How many rows there are now to send."""
    from apps.chat.models import Conversation, Delivery, Instance, Message
    from django.db import connection, transaction
    from django.utils import timezone

    from bench.inside.rows import insert_many

    number, now = Instance.objects.get(), timezone.now()
    ms = str(time.time_ns() // 1_000_000)
    lane = _id(f"'v' || (1 + mod(n - 1, {lanes}))")
    source = f"generate_series(1, {messages}) AS n"
    message = Message(
        tenant_id=number.tenant_id,
        instance=number,
        direction="outgoing",
        origin="api",
        sort_at=now,
        created_at=now,
    )
    with transaction.atomic(), connection.cursor() as cursor:
        said = {"id": _id(f"'{tag}-' || n", ms), "conversation_id": lane, "content": f"'{tag}-' || n"}
        insert_many(message, source, said)
        base = f"(SELECT next_seq FROM chat_conversation WHERE id = {lane})"  # noqa: S608
        insert_many(
            Delivery(tenant_id=number.tenant_id, instance=number),
            source,
            {
                "conversation_id": lane,
                "message_id": said["id"],
                "seq": f"{base} + 1 + (n - 1) / {lanes}",
                "fingerprint": f"md5('{tag}-' || n)",
                # Long after the measurement: only wake-ups may move them.
                "sweep_at": "statement_timestamp() + interval '1 h'",
            },
        )
        cursor.execute(f"UPDATE chat_conversation SET next_seq = next_seq + {messages // lanes + 1}")  # noqa: S608
    _settle()
    return {"live": Delivery.objects.filter(live=True).count(), "lanes": Conversation.objects.count()}


def history(messages: int, conversations: int) -> Json:
    """How many messages there are now."""
    from apps.chat.models import Attempt, Delivery, Instance, Message
    from django.utils import timezone

    from bench.inside.rows import insert_many

    number, now = Instance.objects.get(), timezone.now()
    ms = "1690000000000 + n"
    old = "statement_timestamp() - interval '1 day' - n * interval '1 s'"
    lane = _id(f"'v' || (1 + mod(n, {conversations}))")
    source = f"generate_series(1, {messages}) AS n"
    outgoing = f"generate_series(2, {messages}, 2) AS n"
    message = Message(
        tenant_id=number.tenant_id, instance=number, sort_at=now, created_at=now, ack=3, sent_at=now
    )
    insert_many(
        message,
        source,
        {
            "id": _id("'h' || n", ms),
            "conversation_id": lane,
            "content": "'An earlier message, as long as most of them are, number ' || n",
            "direction": "CASE WHEN mod(n, 2) = 0 THEN 'outgoing' ELSE 'incoming' END",
            "origin": "CASE WHEN mod(n, 2) = 0 THEN 'api' ELSE 'customer' END",
            "provider_id": "'3EB0' || upper(substr(md5('h' || n), 1, 18))",
            "sort_at": old,
            "created_at": old,
        },
    )
    insert_many(
        Delivery(
            tenant_id=number.tenant_id,
            instance=number,
            state=Delivery.State.SENT,
            fence=1,
            tries=1,
            attempts=1,
        ),
        outgoing,
        {
            "conversation_id": lane,
            "message_id": _id("'h' || n", ms),
            "seq": "-n",
            "fingerprint": "md5('h' || n)",
            "finished_at": old,
        },
    )
    insert_many(
        Attempt(instance_id=number.pk, n=1, fence=1, closed=1, http_status=201, bytes_left=True, bound_by=0),
        "chat_delivery d WHERE d.seq < 0",
        {
            "delivery_id": "d.id",
            "conversation_id": "d.conversation_id",
            "fingerprint": "d.fingerprint",
            "closed_at": "d.finished_at",
            "provider_id": "'3EB0' || upper(substr(md5('h' || -d.seq), 1, 18))",
        },
    )
    _settle(vacuum=True)
    return {"messages": Message.objects.count()}


def _settle(*, vacuum: bool = False) -> None:
    """As it is after a while: statistics, and nothing left for autovacuum or the checkpointer to do meanwhile."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)" if vacuum else "ANALYZE")
        cursor.execute("CHECKPOINT")


if __name__ == "__main__":
    main()
