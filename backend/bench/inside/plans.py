"""What PostgreSQL does for the common questions, on a full database: `python -m bench.inside.plans '{"token": "…"}'`.

Each question is asked as the product asks it; every statement it makes is explained with its real times. A line is
told for each statement, with what would not scale: a table read from end to end, a sort of many rows, rows read and
thrown away.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django

django.setup()

from apps.chat import healer, upkeep  # noqa: E402
from apps.chat.delivery import lane, scans  # noqa: E402
from apps.chat.inbound import applier  # noqa: E402
from apps.chat.models import Conversation, Instance, Message  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

MANY: Final = 2000
Json = dict[str, Any]


def questions(token: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and how it is asked."""
    client = Client(headers={"Authorization": f"Token {token}", "Host": "127.0.0.1"})
    instance = Instance.objects.get()
    conversation = Conversation.objects.order_by("id")[50_000 if Conversation.objects.count() > 50_000 else 0]
    message = Message.objects.filter(conversation=conversation).first()
    assert message is not None

    def get(path: str) -> Callable[[], object]:
        return lambda: answered(client.get(path if path.startswith("/") else f"/api/chat/{path}"))

    for name in (
        "conversations/",
        "conversations/?status=pending",
        "conversations/?assigned_to=me",
        "conversations/?assigned_to=none&status=open",
        "conversations/?unread=true",
        f"conversations/?instance={instance.pk}",
        "conversations/?search=5511900077",
        "conversations/?search=Customer%2077",
        "dead-letters/",
        "instances/",
        "reactions/queues/status/",
    ):
        yield name, get(name)
    deep = client.get("/api/chat/conversations/?limit=100").json()["next"]
    if deep:
        yield (
            "conversations/ (next page)",
            get(deep.partition("/api/chat/")[2] or f"conversations/?cursor={deep}"),
        )
    yield "conversations/<id>/", get(f"conversations/{conversation.pk}/")
    yield "conversations/<id>/messages/", get(f"conversations/{conversation.pk}/messages/")
    yield "messages/<id>/", get(f"messages/{message.pk}/")
    yield "messages/<id>/timeline/", get(f"messages/{message.pk}/timeline/")
    yield "engine: step", lambda: lane.step([conversation.pk], 1)
    yield "engine: sweep", lambda: lane.sweep(100)
    yield "engine: take over", lane.take_over
    yield "engine: canary here", lambda: scans.last_sure(instance.pk, conversation.pk)
    yield "engine: canary anywhere", lambda: scans.last_sure(instance.pk)
    yield "journal: sweep", applier.sweep_once
    yield "journal: prune", upkeep.prune_journal
    yield "healer: claim", healer.claim_due


def answered(response: Any) -> None:
    """Only what was answered was asked."""
    if response.status_code != 200:
        raise RuntimeError(f"{response.status_code}: {response.content[:300]!r}")


def explained(ask: Callable[[], object]) -> Iterator[Json]:
    """The plan of each statement a question makes; what it writes is undone."""
    with transaction.atomic():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            ask()
        transaction.set_rollback(True)
    for query in captured:
        text = str(query["sql"]).strip()
        if text.split(None, 1)[0].upper() in ("SELECT", "WITH", "UPDATE", "DELETE"):
            yield {"sql": text, "plan": _plan(text)}


def _plan(text: str) -> Json:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + text.replace("%", "%%"))
        told = cursor.fetchone()[0]
        transaction.set_rollback(True)
    plan: Json = (json.loads(told) if isinstance(told, str) else told)[0]
    return plan


def trouble(node: Json) -> Iterator[str]:
    """What in a plan grows with the table."""
    loops = node.get("Actual Loops", 1)
    rows, lost = node.get("Actual Rows", 0) * loops, node.get("Rows Removed by Filter", 0) * loops
    where = node.get("Relation Name") or node.get("Index Name") or ""
    if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan") and rows + lost > MANY:
        yield f"reads all of {where} ({rows + lost:.0f} rows)"
    elif node["Node Type"].endswith("Sort") and rows > MANY:
        yield f"sorts {rows:.0f} rows"
    elif lost > MANY:
        yield f"throws away {lost:.0f} rows of {where}"
    for child in node.get("Plans", ()):
        yield from trouble(child)


def main() -> None:
    """Ask, and tell what was found; the last line is JSON: question -> the worst statement's milliseconds."""
    worst: dict[str, float] = {}
    for name, ask in questions(json.loads(sys.argv[1])["token"]):
        for told in explained(ask):
            ms = told["plan"]["Execution Time"]
            worst[name] = max(worst.get(name, 0.0), ms)
            found = "; ".join(trouble(told["plan"]["Plan"]))
            if found:
                print(f"{name:45} {ms:8.2f} ms  {found}\n    {told['sql'][:300]}")
    for name, ms in worst.items():
        print(f"{name:45} {ms:8.2f} ms")
    print(json.dumps(worst))


if __name__ == "__main__":
    main()
