"""`chat_doctor`: each ailment is told once, with what to do, and health is told as health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from testing import servers

from apps.chat import redis_streams
from apps.chat.delivery import dead_letters
from apps.chat.models import Attempt, Delivery, Instance, WebhookEvent
from apps.chat.tests import factories
from apps.chat.tests.commands.run import Ran, run

pytestmark = pytest.mark.django_db(transaction=True)
State = Delivery.State
Gate = Instance.Gate


@pytest.fixture(autouse=True)
def _well(redis_client: redis.Redis) -> Iterator[None]:
    """A system in order: a worker alive, both groups there, Redis with the settings it should have."""
    factories.make_worker()
    client = redis_streams.get_stream_redis_client()
    for stream in redis_streams.work_streams():
        client.xgroup_create(stream, settings.CHAT_STREAM_CONSUMER_GROUP, id="0", mkstream=True)
    yield
    redis_streams.outage.worked()


def levels(*args: str) -> dict[str, str]:
    """The worst level of each check."""
    rank = ("ok", "warning", "problem")
    worst: dict[str, str] = {}
    for one in run("chat_doctor", "--json", *args).json["findings"]:
        worst[one["check"]] = max(worst.get(one["check"], "ok"), one["level"], key=rank.index)
    return worst


def told(check: str) -> str:
    """What is said of a check that is not ok."""
    found = run("chat_doctor", "--json").json["findings"]
    return " / ".join(one["text"] for one in found if one["check"] == check and one["level"] != "ok")


def unwell() -> dict[str, str]:
    """What is not ok, but for what the tests' own servers (no fsync) are to blame for."""
    return {
        name: level
        for name, level in levels().items()
        if level != "ok" and name not in ("settings", "database")
    }


# --- health ---------------------------------------------------------------------------------------


def test_all_is_well() -> None:
    conversation = factories.make_conversation()
    factories.queue(conversation)
    factories.write(factories.accepted(factories.stepped(conversation)))

    assert unwell() == {}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the tests' PostgreSQL runs without fsync")
def test_health_is_one_line_per_check_and_code_0() -> None:
    ran = run("chat_doctor")

    assert (ran.code, ran.err) == (0, ""), ran
    assert all(line.startswith(("ok", "warning")) for line in ran.out.splitlines())
    assert {"invariants", "journal", "workers"} <= {
        line.split()[1].rstrip(":") for line in ran.out.splitlines()
    }


def test_a_problem_is_code_1_with_what_to_do() -> None:
    factories.queue(state=State.HELD, reason="evidence_missing")

    ran = run("chat_doctor")

    assert ran.code == 1
    assert "held: a person decides about: evidence_missing 1 -> send or discard them" in ran.out
    assert ran.err.endswith("a person.")


def test_it_changes_nothing(redis_client: redis.Redis) -> None:
    factories.queue(state=State.FAILED, failure_gen=1)
    before = list(Delivery.objects.values())

    run("chat_doctor", "--full")

    assert list(Delivery.objects.values()) == before
    assert not redis_streams.get_stream_redis_client().exists(settings.CHAT_STREAM_DLQ_NAME)


def test_from_a_shell(child_env: Mapping[str, str]) -> None:
    factories.queue(state=State.HELD)

    with pytest.raises(servers.ServerError, match=r"\(code 1\)"):
        servers.manage("chat_doctor", env=child_env)


# --- settings and servers -------------------------------------------------------------------------


def test_fault_injection_left_on(settings: Any) -> None:
    settings.CHAT_FAIL_AT = "answer:exit"

    assert "CHAT_FAIL_AT" in told("settings")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own")
def test_a_relaxed_sqlite() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=NORMAL")
    try:
        assert "below FULL" in told("database")
    finally:
        connection.close()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own")
def test_a_relaxed_postgresql() -> None:
    assert "fsync is off" in told("database")


def test_a_missing_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.migration import Migration

    plan = [(Migration("0099_later", "chat"), False)]
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda self, targets: plan)

    assert "not applied: chat.0099_later" in told("migrations")
    assert "invariants" not in levels()


def test_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away() -> None:
        raise OperationalError("no")

    monkeypatch.setattr(connection, "ensure_connection", away)

    ran: Ran = run("chat_doctor", "--json")

    assert ran.code == 1
    last = ran.json["findings"][-1]
    assert (last["check"], last["level"], "does not answer" in last["text"]) == ("database", "problem", True)


def test_redis_away_is_told_per_purpose(settings: Any) -> None:
    settings.CHAT_QUEUE_REDIS_URL = "redis://:hush@127.0.0.1:1/2"
    settings.CHAT_STREAM_REDIS_URL = "redis://127.0.0.1:1/3"

    found = unwell()

    assert {"redis lists", "redis streams", "lists"} <= set(found)
    assert "redis cache" not in found
    assert "hush" not in run("chat_doctor").out


def test_a_redis_that_evicts_and_one_that_forgets(settings: Any) -> None:
    """RELIABILITY row 14."""
    with servers.valkey(maxmemory_policy="allkeys-lru", appendonly="no", maxmemory="64mb") as server:
        settings.CHAT_STREAM_REDIS_URL = f"redis://127.0.0.1:{server.port}/3"
        name = f"redis server 127.0.0.1:{server.port}"

        assert levels()[name] == "problem"
        assert "maxmemory-policy is allkeys-lru" in told(name)
        assert "appendonly is off" in told(name)


def test_an_old_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.chat.doctor import servers as looked_at

    info = {"redis_version": "6.0.16", "maxmemory_policy": "noeviction", "aof_enabled": 1}
    (finding,) = looked_at._server("old", info)

    assert (finding.level, "lacks XAUTOCLAIM" in finding.text) == ("problem", True)
    assert [one.level for one in looked_at._server("new", {**info, "redis_version": "6.2.0"})] == ["ok"]


# --- queues and workers ---------------------------------------------------------------------------


def test_a_missing_group(redis_client: redis.Redis) -> None:
    redis_client.flushall()

    assert unwell() == {f"stream {name}": "warning" for name in redis_streams.work_streams()}


def test_an_old_entry() -> None:
    stream = settings.CHAT_STREAM_SEND_NAME
    redis_streams.get_stream_redis_client().xadd(stream, {"payload": "{}"}, id="1000-0")

    assert levels()[f"stream {stream}"] == "problem"


def test_too_many_entries() -> None:
    redis_streams.enqueue_many(redis_streams.WakeUp(None, None) for _ in range(250))

    assert "250 entries are outstanding" in told(f"stream {settings.CHAT_STREAM_SEND_NAME}")


def test_no_worker_and_a_silent_one() -> None:
    factories.make_worker("gone", silent_for=300)
    assert "fell silent within the last hour: gone" in told("workers")
    assert levels()["workers"] == "warning"

    from apps.chat.models import Worker

    Worker.objects.all().delete()
    assert levels()["workers"] == "problem"


# --- deliveries -----------------------------------------------------------------------------------


def late(**values: Any) -> dict[str, Any]:
    return {"wake_at": Now() - timedelta(seconds=90), **values}


def test_a_head_that_should_have_moved() -> None:
    stuck = factories.queue(**late())
    factories.queue(stuck.conversation, **late())  # waits behind it, as it should

    assert told("deliveries") == f"1 are due for more than a minute and do not move: {stuck.pk}"


@pytest.mark.parametrize("state", [State.SENDING, State.VERIFYING])
def test_a_row_whose_holder_never_came_back(state: int) -> None:
    factories.queue(**late(state=state))

    assert levels()["deliveries"] == "problem"


def test_rows_that_wait_for_a_reason_are_not_stuck() -> None:
    parked = factories.make_instance(gate=Gate.PARKED, gate_reason="disconnected", gate_since=Now())
    factories.queue(factories.make_conversation(parked), **late())
    held = factories.queue(**late(state=State.HELD))
    factories.queue(held.conversation, **late())
    settling = factories.make_conversation()
    factories.queue(settling)
    factories.write(factories.not_sent(factories.stepped(settling)))
    Attempt.objects.update(closed=None)
    Delivery.objects.filter(conversation=settling).update(**late())

    assert levels()["deliveries"] == "ok"


def test_dead_letters_and_a_stream_that_differs() -> None:
    delivery = factories.queue(state=State.FAILED, reason="not_on_whatsapp", failure_gen=1, finished_at=Now())
    assert told("dead letters") == "not_on_whatsapp 1 / the stream lacks 1 and has 0 too many"

    dead_letters.record([delivery.pk])
    assert told("dead letters") == "not_on_whatsapp 1"


# --- instances and journal ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "reason", "minutes", "level"),
    [
        (Gate.PARKED, "disconnected", 1, "warning"),
        (Gate.PARKED, "disconnected", 30, "problem"),
        (Gate.PARKED, "logged_out", 1, "problem"),
        (Gate.FROZEN, "unauthorized", 1, "problem"),
    ],
)
def test_instances_that_cannot_send(gate: int, reason: str, minutes: int, level: str) -> None:
    since = Now() - timedelta(minutes=minutes)
    instance = factories.make_instance(gate=gate, gate_reason=reason, gate_since=since)

    assert levels()["instances"] == level
    assert f"{instance.name} ({instance.tenant.name}) is " in told("instances")
    assert f"{minutes} min: {reason}" in told("instances")


def webhook(state: int, seconds: float, **values: Any) -> WebhookEvent:
    event = WebhookEvent.objects.create(instance=factories.make_instance(), event="x", body={}, state=state)
    at = Now() - timedelta(seconds=seconds)
    WebhookEvent.objects.filter(pk=event.pk).update(received_at=at, **values)
    return event


def test_a_journal_that_is_not_applied() -> None:
    webhook(WebhookEvent.State.NEW, 10)
    assert levels()["journal"] == "ok"

    event = webhook(WebhookEvent.State.NEW, 100, tries=2)
    assert f"1 webhooks wait for more than a minute, from event {event.pk} on, tried 2 times" in told(
        "journal"
    )


def test_a_webhook_that_could_not_be_applied() -> None:
    event = webhook(WebhookEvent.State.FAILED, 100, note="KeyError in changes.py")

    assert told("journal") == f"could not be applied: event {event.pk}: KeyError in changes.py"


def test_a_failed_webhook_is_handed_back_as_operations_says(child_env: Mapping[str, str]) -> None:
    event = webhook(WebhookEvent.State.FAILED, 100, tries=5, applied_at=Now())
    page = (servers.BACKEND.parent / "docs/operations.md").read_text()
    words = page.split("    python manage.py chat_journal ")[1].splitlines()[0].split()

    servers.manage("chat_journal", *words, env=child_env)

    event.refresh_from_db()
    assert event.state in (WebhookEvent.State.APPLIED, WebhookEvent.State.IGNORED)


# --- invariants -----------------------------------------------------------------------------------


def test_two_rows_of_a_lane_in_flight() -> None:
    conversation = factories.make_conversation()
    for state in (State.SENDING, State.VERIFYING):
        factories.queue(conversation, state=state)

    assert f"two rows in flight: {conversation.pk}" in told("invariants")


def test_a_sent_row_without_proof() -> None:
    delivery = factories.queue(state=State.SENT)

    assert f"without an accepted attempt: {delivery.pk}" in told("invariants")


def test_an_attempt_that_nobody_closed() -> None:
    conversation = factories.make_conversation()
    delivery = factories.queue(conversation)
    factories.write(factories.not_sent(factories.stepped(conversation), State.FAILED))
    Attempt.objects.update(closed=None)
    assert levels()["invariants"] == "ok"  # it may still settle

    factories.age_attempts(11 * settings.CHAT_SEND_SETTLE_SECONDS)
    assert f"nobody closed: {delivery.pk}" in told("invariants")

    Delivery.objects.update(maybe=True)  # sent anyway by a person: open for good, by right
    assert levels("--full")["invariants"] == "ok"
