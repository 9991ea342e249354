"""`reactions/queues/status/`: what waits in Redis, who works on it, and what a person should look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import media_queue, redis_queue, redis_streams
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.instance_alerts import instance_alerts
from apps.chat.errors import QueueAway
from apps.chat.models import Worker
from apps.chat.realtime.shapes import stamp

LIST_LIMIT = 1000
OUTSTANDING_LIMIT = 200
AGE_LIMIT_SECONDS = 60
MEDIA_LIMIT = 500
MEDIA_AGE_LIMIT_SECONDS = 900
_REMEMBERED = timedelta(hours=1)
_FILES = """SELECT count(*), {age} FROM chat_messageattachment
WHERE status IN ('pending', 'processing') AND message_id IS NOT NULL"""
_AGE = {
    "postgresql": "extract(epoch FROM statement_timestamp() - min(asked_at))",
    "sqlite": "(julianday('now') - julianday(min(asked_at))) * 86400.0",
}

Json = dict[str, Any]


class QueueViews(ChatViews):
    """Queues of the whole server: lengths only. Of the tenants' numbers the caller's own alone."""

    @extend_schema(responses=schemas.QueuesStatus)
    def status(self, request: Request) -> Response:
        """Lists, streams, workers and alerts. Redis being away is an alert, not an error."""
        return Response(status(self.tenants))


def status(tenants: Collection[UUID] = ()) -> Json:
    """The answer of `reactions/queues/status/`, with alerts about these tenants' numbers."""
    metrics, streams, workers, media = _lists(), _streams(), alive_workers(), media_metrics()
    return {
        "metrics": metrics,
        "stream_metrics": streams,
        "media_metrics": media,
        "workers": workers,
        "alerts": [
            *_alerts(metrics, streams, workers),
            *_media_alerts(media),
            *instance_alerts(tenants),
        ],
        "timestamp": stamp(timezone.now()),
    }


def media_metrics() -> Json:
    """Files on their way, by the rows, which decide; and RabbitMQ's queue where one is configured."""
    with connection.cursor() as cursor:
        cursor.execute(_FILES.format(age=_AGE[connection.vendor]))
        number, age = cursor.fetchone()
    found: Json = {
        "waiting": number,
        "oldest_age_seconds": round(max(float(age), 0.0), 6) if age is not None else None,
        "queue": None,
    }
    if media_queue.configured():
        found["queue"] = {
            "name": media_queue.QUEUE,
            **_or_nothing(media_queue.get_media_queue_metrics, {}, "rabbitmq_away"),
        }
    return found


def _media_alerts(media: Json) -> Iterator[Json]:
    name, queue = media_queue.QUEUE, media["queue"] or {}
    if "error" in queue:
        yield _alert(name, "rabbitmq_away", "RabbitMQ is away; files are fetched from the database.")
    elif queue and not queue["consumers"]:
        yield _alert(
            name, "no_media_workers", "Nobody reads the media queue: start_chat_media_worker is not running."
        )
    if queue.get("dead"):
        yield _alert(
            name, "media_dead_letters", f"{queue['dead']} messages of the media queue could not be used."
        )
    if media["waiting"] > MEDIA_LIMIT:
        yield _alert(name, "media_long", f"{media['waiting']} files wait to be fetched.")
    age = media["oldest_age_seconds"]
    if age is not None and age > MEDIA_AGE_LIMIT_SECONDS:
        yield _alert(name, "media_old", f"A file has been waited for since {age / 60:.0f} minutes.")


def alive_workers() -> list[Json]:
    """Workers heard of lately, and whether their heartbeat is fresh by the database's clock."""
    text, values = _workers_statement(connection.vendor, settings.CHAT_HEARTBEAT_DEAD_SECONDS)
    rows: Iterable[Any] = Worker.objects.raw(text, values)
    return [
        {
            "name": row.name,
            "alive": bool(row.alive),
            "beat_at": stamp(row.beat_at),
            "started_at": stamp(row.started_at),
        }
        for row in rows
    ]


@lru_cache(maxsize=8)
def _workers_statement(vendor: str, dead_seconds: float) -> tuple[str, tuple[Any, ...]]:
    """Built once for a database and a setting: building it took longer than running it."""
    dead = timedelta(seconds=dead_seconds)
    fresh = ExpressionWrapper(Q(beat_at__gte=Now() - dead), output_field=BooleanField())
    rows = Worker.objects.filter(stopped=False, beat_at__gte=Now() - _REMEMBERED).annotate(alive=fresh)
    built: tuple[str, tuple[Any, ...]] = rows.order_by("name").query.sql_with_params()
    return built


def _lists() -> Json:
    return _or_nothing(redis_queue.get_list_metrics, {"total": 0})


def _streams() -> Json:
    return _or_nothing(redis_streams.get_stream_metrics, {"total_streams_length": 0})


def _or_nothing(ask: Callable[[], Json], nothing: Json, error: str = "redis_away") -> Json:
    try:
        return ask()
    except QueueAway:
        return {**nothing, "error": error}


def _alerts(metrics: Json, streams: Json, workers: list[Json]) -> Iterator[Json]:
    if "error" in metrics or "error" in streams:
        yield _alert("redis", "redis_away", "Redis is away; messages leave from the database, more slowly.")
    for name, row in metrics.items():
        if isinstance(row, dict):
            yield from _list_alerts(name, row)
    for name, row in streams.items():
        if isinstance(row, dict):
            yield from _stream_alerts(name, row)
    if not any(row["alive"] for row in workers):
        yield _alert("workers", "no_workers", "No worker is alive: nothing is being sent.")


def _list_alerts(name: str, row: Json) -> Iterator[Json]:
    if name == "dead":
        if row["length"]:
            yield _alert(
                name, "dead_letters", f"{row['length']} requests for pictures or names were given up."
            )
    elif row["length"] > LIST_LIMIT:
        yield _alert(name, "list_long", f"{row['length']} items wait in {row['name']}.")


def _stream_alerts(name: str, row: Json) -> Iterator[Json]:
    if name == "dead_letter_stream":
        if row["length"]:
            yield _alert(name, "dead_letters", f"{row['length']} dead letters wait for a person.")
        return
    outstanding = row["pending"] + row["lag"]
    if outstanding > OUTSTANDING_LIMIT:
        yield _alert(name, "stream_long", f"{outstanding} entries of {row['name']} are outstanding.")
    age = row["oldest_age_seconds"]
    if age is not None and age > AGE_LIMIT_SECONDS:
        yield _alert(name, "stream_old", f"The oldest entry of {row['name']} is {age:.0f} seconds old.")
    if row["length"] > settings.CHAT_STREAM_MAXLEN:
        yield _alert(
            name, "stream_over_bound", f"{row['name']} holds more than CHAT_STREAM_MAXLEN live entries."
        )


def _alert(queue: str, code: str, message: str) -> Json:
    return {"queue": queue, "code": code, "level": "warning", "message": message}
