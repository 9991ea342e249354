"""Queues, workers, deliveries, instances, journal: does the work move, and who waits for a person?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import (
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
)
from django.db.models.functions import Now

from apps.chat import redis_queue, redis_streams
from apps.chat.api.queues import AGE_LIMIT_SECONDS, LIST_LIMIT, OUTSTANDING_LIMIT, alive_workers
from apps.chat.delivery import dead_letters
from apps.chat.doctor.findings import Finding, age, ok, problem, several, warning
from apps.chat.errors import QueueAway
from apps.chat.models import Attempt, Delivery, Instance, WebhookEvent

State = Delivery.State

UNMOVED: Final = timedelta(seconds=60)
PATIENCE: Final = timedelta(minutes=10)
JOURNAL_DEPTH: Final = 100_000
# These end only when a person changes something; the others may pass by themselves.
NEEDS_A_PERSON: Final = frozenset(
    [
        *["logged_out", "instance_missing", "instance_not_loaded"],
        *["unauthorized", "forbidden", "bad_address", "wrong_base_url"],
    ]
)
_AWAY: Final = "start Redis; messages leave from the database meanwhile, more slowly"


def check_streams() -> Iterator[Finding]:
    """Groups there, nothing old, nothing piling up."""
    try:
        metrics = redis_streams.get_stream_metrics()
    except QueueAway:
        yield problem("streams", "Redis does not answer", _AWAY)
        return
    for label in ("send_message_stream", "mark_as_read_stream"):
        yield from _stream(metrics[label])


def _stream(row: dict[str, Any]) -> Iterator[Finding]:
    name, oldest, outstanding = (
        f"stream {row['name']}",
        row["oldest_age_seconds"] or 0.0,
        row["pending"] + row["lag"],
    )
    found = []
    if settings.CHAT_STREAM_CONSUMER_GROUP not in [group["name"] for group in row["groups"]]:
        group = settings.CHAT_STREAM_CONSUMER_GROUP
        found.append(
            warning(name, f"the group {group} is not there", "a worker makes it when it starts: start one")
        )
    if oldest > AGE_LIMIT_SECONDS:
        found.append(
            problem(name, f"the oldest entry is {age(oldest)} old", "start more workers, or restart these")
        )
    if outstanding > OUTSTANDING_LIMIT:
        text = f"{outstanding:,} entries are outstanding"
        found.append(warning(name, text, "more than the workers take: start more if it lasts"))
    yield from found or [ok(name, f"{outstanding} outstanding, {row['consumers']} consumers")]


def check_lists() -> Iterator[Finding]:
    """The lists of DB 2."""
    try:
        metrics = redis_queue.get_list_metrics()
    except QueueAway:
        yield problem("lists", "Redis does not answer", _AWAY)
        return
    long = [f"{row['name']} holds {row['length']:,}" for row in metrics.values() if _is_long(row)]
    if long:
        yield warning("lists", several(long), "start more consumers: manage.py start_chat_consumer")
    else:
        yield ok("lists", f"{metrics['total']} items")


def _is_long(row: Any) -> bool:
    return isinstance(row, dict) and row["length"] > LIST_LIMIT


def check_workers() -> Iterator[Finding]:
    """Is anybody there to send?"""
    rows = alive_workers()
    alive, silent = [row for row in rows if row["alive"]], [row["name"] for row in rows if not row["alive"]]
    if not alive:
        do = "start `manage.py start_chat_stream_worker`, or the web server with its own"
        yield problem("workers", "none is alive: nothing is sent", do)
    elif silent:
        text = f"{len(alive)} alive; fell silent within the last hour: {several(silent)}"
        yield warning("workers", text, "killed or frozen: their rows were taken over; see their logs")
    else:
        yield ok("workers", f"{len(alive)} alive")


# --- deliveries -----------------------------------------------------------------------------------


def unmoved() -> QuerySet[Delivery]:
    """Rows that should have moved a minute ago: heads that may step, and rows whose holder's time is over."""
    late = Delivery.objects.filter(live=True, wake_at__lt=Now() - UNMOVED)
    before = Delivery.objects.filter(
        conversation_id=OuterRef("conversation_id"), live=True, seq__lt=OuterRef("seq")
    )
    settle = timedelta(seconds=settings.CHAT_SEND_SETTLE_SECONDS)
    unclear = Attempt.objects.filter(
        conversation_id=OuterRef("conversation_id"), closed__isnull=True, step_at__gt=Now() - settle - UNMOVED
    )
    head = Q(state=State.QUEUED, instance__gate=Instance.Gate.OPEN) & ~Exists(before) & ~Exists(unclear)
    return late.filter(head | Q(state__in=(State.SENDING, State.VERIFYING)))


def check_deliveries() -> Iterator[Finding]:
    """Due and unmoved, held, failed."""
    stuck = unmoved()
    count = stuck.count()
    if count:
        first = list(stuck.order_by("wake_at").values_list("pk", flat=True)[:5])
        text = f"{count:,} are due for more than a minute and do not move: {', '.join(map(str, first))}"
        yield problem("deliveries", text, "see `workers`; if those live, restart them and read their log")
    else:
        live = Delivery.objects.filter(live=True).count()
        yield ok("deliveries", f"{live:,} on their way, none is stuck")
    yield _held()
    yield from _failed()


def _held() -> Finding:
    rows = Delivery.objects.filter(live=True, state=State.HELD)
    reasons = rows.order_by("reason").values_list("reason").annotate(Count("pk"))
    words = [f"{reason or 'unknown'} {count:,}" for reason, count in reasons]
    if not words:
        return ok("held", "none")
    return problem("held", f"a person decides about: {several(words)}", "send or discard them in the inbox")


def _failed() -> Iterator[Finding]:
    reasons = dead_letters.failed().order_by("reason").values_list("reason").annotate(Count("pk"))
    words = [f"{reason or 'unknown'} {count:,}" for reason, count in reasons]
    if words:
        yield problem(
            "dead letters", several(words), "manage.py chat_dead_letters list, then replay or discard"
        )
    else:
        yield ok("dead letters", "none")
    try:
        off = dead_letters.disagreement()
    except QueueAway:
        return
    if off.added or off.removed:
        text = f"the stream lacks {off.added:,} and has {off.removed:,} too many"
        yield warning(
            "dead letters", text, "a worker puts it right within a minute, `chat_dead_letters list` at once"
        )


# --- instances and journal ------------------------------------------------------------------------


def check_instances() -> Iterator[Finding]:
    """Which numbers cannot send, since when, and why."""
    since = ExpressionWrapper(Now() - F("gate_since"), output_field=DurationField())
    closed = Instance.objects.exclude(gate=Instance.Gate.OPEN).annotate(lasting=since).order_by("gate_since")
    rows: list[Any] = list(closed.values("name", "tenant__name", "gate", "gate_reason", "lasting"))
    words = several(_closed(row) for row in rows)
    if not rows:
        yield ok("instances", f"all {Instance.objects.count():,} may send")
    elif any(_needs_a_person(row) for row in rows):
        do = "connect the number, or correct its key or address (chat_bootstrap); its messages wait"
        yield problem("instances", words, do)
    else:
        yield warning("instances", words, "they are asked again at intervals, and their messages wait")


def _closed(row: dict[str, Any]) -> str:
    lasting = f" for {age(row['lasting'].total_seconds())}" if row["lasting"] else ""
    word = "frozen" if row["gate"] == Instance.Gate.FROZEN else "parked"
    return f"{row['name']} ({row['tenant__name']}) is {word}{lasting}: {row['gate_reason'] or 'no reason'}"


def _needs_a_person(row: dict[str, Any]) -> bool:
    lasts = row["lasting"] is not None and row["lasting"] > PATIENCE
    return row["gate"] == Instance.Gate.FROZEN or row["gate_reason"] in NEEDS_A_PERSON or lasts


def check_journal() -> Iterator[Finding]:
    """Webhooks that wait to be applied, and those that could not be."""
    kinds = WebhookEvent.State
    waiting = WebhookEvent.objects.filter(state=kinds.NEW, received_at__lt=Now() - UNMOVED)
    found = waiting.aggregate(count=Count("pk"), tried=Max("tries"), first=Min("pk"))
    if found["count"]:
        tried = f", tried {found['tried']} times" if found["tried"] else ""
        text = (
            f"{found['count']:,} webhooks wait for more than a minute, from event {found['first']} on{tried}"
        )
        yield problem(
            "journal", text, "is a web server or worker running? Its log says why it cannot apply them"
        )
    newest = WebhookEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0
    failed = WebhookEvent.objects.filter(pk__gt=newest - JOURNAL_DEPTH, state=kinds.FAILED)
    words = [f"event {pk}: {note}" for pk, note in failed.order_by("-pk").values_list("pk", "note")[:100]]
    if words:
        yield problem(
            "journal",
            f"could not be applied: {several(words, 3)}",
            "remove the cause, then apply them again as docs/operations.md says",
        )
    if not words and not found["count"]:
        yield ok("journal", "all webhooks are applied")
