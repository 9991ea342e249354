"""Is this server alive, may it be given work, and its figures for Prometheus."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from apps.chat import media_queue, redis_queue, redis_streams
from apps.chat.api.queues import alive_workers
from apps.chat.errors import QueueAway
from apps.chat.models import Delivery

_LIST_FIGURES = {
    "length": "Items waiting in a list.",
    "in_hand": "Items of a list that consumers hold.",
    "later": "Items of a list to be tried again.",
}


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. Restart it when this fails; nothing else is looked at."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Database, Redis, RabbitMQ (where one is configured) and consumers are there. 503 names what is missing.

    Without Redis messages are still accepted and sent, more slowly: a balancer that should keep sending requests
    then asks /healthz.
    """
    checks = {"database": _database(), "redis": _redis()}
    if media_queue.configured():
        checks["rabbitmq"] = _rabbitmq()
    checks["consumers"] = checks["database"] and any(row["alive"] for row in alive_workers())
    ready = all(checks.values())
    words = {name: "ok" if fine else "missing" for name, fine in checks.items()}
    return JsonResponse({"status": "ok" if ready else "not ready", **words}, status=200 if ready else 503)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Figures in Prometheus' text format, for private networks or with METRICS_TOKEN."""
    if not _may_measure(request):
        return HttpResponseForbidden("METRICS_TOKEN, or a private network.", content_type="text/plain")
    return HttpResponse(generate_latest() + generate_latest(_measured()), content_type=CONTENT_TYPE_LATEST)


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _redis() -> bool:
    try:
        redis_queue.get_list_metrics()
    except QueueAway:
        return False
    return True


def _rabbitmq() -> bool:
    try:
        media_queue.get_media_queue_metrics()
    except QueueAway:
        return False
    return True


def _may_measure(request: HttpRequest) -> bool:
    """A request that came through a proxy shows the proxy's address: it needs the token."""
    token = getattr(settings, "METRICS_TOKEN", "")
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token:
        return hmac.compare_digest(given.encode(), token.encode())
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return address.is_private or address.is_loopback


def _measured() -> CollectorRegistry:
    registry = CollectorRegistry()
    states = Gauge("chat_deliveries", "Deliveries that have not ended.", ["state"], registry=registry)
    counts = dict(Delivery.objects.filter(live=True).order_by().values_list("state").annotate(Count("id")))
    for state in (state for state in Delivery.State if state < Delivery.State.SENT):
        states.labels(state.name.lower()).set(counts.get(state, 0))
    alive = Gauge("chat_workers_alive", "Workers with a fresh heartbeat.", registry=registry)
    alive.set(sum(row["alive"] for row in alive_workers()))
    up = Gauge("chat_redis_up", "1 while Redis answers.", registry=registry)
    try:
        _measure_redis(registry)
        up.set(1)
    except QueueAway:
        up.set(0)
    return registry


def _measure_redis(registry: CollectorRegistry) -> None:
    streams: dict[str, Any] = redis_streams.get_stream_metrics()
    lists: dict[str, Any] = redis_queue.get_list_metrics()
    for figure in ("length", "pending", "lag", "consumers"):
        gauge = Gauge(f"chat_stream_{figure}", f"Streams: {figure}.", ["stream"], registry=registry)
        for name, row in streams.items():
            if isinstance(row, dict):
                gauge.labels(name).set(row[figure])
    for figure, words in _LIST_FIGURES.items():
        gauge = Gauge(f"chat_list_{figure}", words, ["list"], registry=registry)
        for name, row in lists.items():
            if isinstance(row, dict) and figure in row:
                gauge.labels(name).set(row[figure])
