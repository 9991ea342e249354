"""The journal's threads: batches, left-overs, failures, stopping, forking."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from apps.chat import inbound, journal
from apps.chat.inbound import applier
from apps.chat.models import Instance, Message, WebhookEvent

from .conftest import Body, message_body

State = WebhookEvent.State
HOUR = timedelta(hours=1)


def entry(instance: Instance, body: Body, settled: str | None = None) -> journal.Entry:
    return journal.Entry(instance.id, body["event"], body, settled, size=100)


def stored(*entries: journal.Entry) -> list[int]:
    async def run() -> list[int]:
        return await asyncio.gather(*(journal.store(each) for each in entries))

    return asyncio.run(run())


def left_over(instance: Instance, body: Body) -> WebhookEvent:
    """An event whose process was killed between storing and applying."""
    row = WebhookEvent.objects.create(instance=instance, event=body["event"], body=body)
    WebhookEvent.objects.filter(pk=row.pk).update(received_at=timezone.now() - HOUR)
    return row


def test_it_answers_ids_in_the_order_of_the_entries(instance: Instance) -> None:
    ids = stored(*(entry(instance, message_body(f"A{number}")) for number in range(50)))
    assert journal.drain(30)
    names = WebhookEvent.objects.in_bulk(ids)
    assert [names[pk].body["data"]["key"]["id"] for pk in ids] == [f"A{number}" for number in range(50)]
    assert Message.objects.count() == 50


def test_what_arrives_together_is_stored_together(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = journal._insert

    def counted(entries: list[journal.Entry]) -> list[int]:
        sizes.append(len(entries))
        return real(entries)

    monkeypatch.setattr(journal, "_insert", counted)
    stored(*(entry(instance, message_body(f"A{number}"), "ignored: test") for number in range(200)))
    assert sum(sizes) == 200
    assert len(sizes) < 20


def test_a_settled_event_is_stored_and_not_applied(instance: Instance) -> None:
    stored(entry(instance, message_body("A1"), "ignored: not used"))
    assert journal.drain(10)
    row = WebhookEvent.objects.get()
    assert (row.state, row.note) == (State.IGNORED, "ignored: not used")
    assert row.applied_at
    assert not Message.objects.exists()


def test_one_event_the_database_refuses_does_not_take_others_with_it(instance: Instance) -> None:
    gone = Instance(id=instance.tenant_id)

    async def run() -> list[object]:
        entries = [entry(instance, message_body("A1")), entry(gone, message_body("A2"))]
        return await asyncio.gather(*(journal.store(each) for each in entries), return_exceptions=True)

    first, second = asyncio.run(run())
    assert isinstance(first, int)
    assert isinstance(second, journal.NotStored)


def test_too_much_waiting_is_refused(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING_BYTES", 50)
    with pytest.raises(journal.NotStored):
        stored(entry(instance, message_body("A1")))


def test_a_broken_connection_is_replaced(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = WebhookEvent.objects.bulk_create, []

    def broken_at_first(rows: list[WebhookEvent]) -> list[WebhookEvent]:
        calls.append(rows)
        if len(calls) == 1:
            raise OperationalError("terminating connection")
        return real(rows)

    monkeypatch.setattr(WebhookEvent.objects, "bulk_create", broken_at_first)
    assert stored(entry(instance, message_body("A1")))


def test_a_left_over_is_applied_when_the_threads_start(
    instance: Instance, eventually: Callable[..., None]
) -> None:
    left_over(instance, message_body("A1"))
    journal.start()
    eventually(lambda: WebhookEvent.objects.get().state == State.APPLIED, within=10)
    assert Message.objects.count() == 1


def test_left_overs_of_many_sweeps_do_not_wait_for_the_next_time(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr(applier, "_MARKS", 2)
    monkeypatch.setattr(applier, "SWEEP_SECONDS", 3600)
    for number in range(5):
        left_over(instance, message_body(f"A{number}"))
    journal.start()
    eventually(lambda: not WebhookEvent.objects.filter(state=State.NEW).exists(), within=20)


def test_a_fresh_event_is_left_to_the_process_that_stored_it(instance: Instance) -> None:
    body = message_body("A1")
    WebhookEvent.objects.create(instance=instance, event=body["event"], body=body)
    assert journal.sweep_once() == 0


def test_two_sweeps_at_once_do_not_double_the_work(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        left_over(instance, message_body(f"A{number}"))
    applied: list[int] = []
    real = inbound.apply

    def counted(row: WebhookEvent) -> str:
        applied.append(row.pk)
        return real(row)

    monkeypatch.setattr(inbound, "apply", counted)

    def sweep() -> None:
        journal.sweep_once()
        connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(applied) == sorted(WebhookEvent.objects.values_list("pk", flat=True))


def test_a_failing_event_is_retried_with_pauses_and_then_failed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = left_over(instance, message_body("A1", "text nobody may log"))
    monkeypatch.setattr(inbound, "apply", _raise(ValueError("text nobody may log")))
    for tries in range(1, applier.TRIES + 1):
        journal.sweep_once()
        row.refresh_from_db()
        assert row.tries == tries
        assert row.state == (State.FAILED if tries == applier.TRIES else State.NEW)
        journal.sweep_once()
        row.refresh_from_db()
        assert row.tries == tries, "a second sweep waits for the pause"
        WebhookEvent.objects.update(applied_at=timezone.now() - HOUR)
    journal.sweep_once()
    row.refresh_from_db()
    assert (row.tries, row.note) == (applier.TRIES, "ValueError")
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    assert "nobody may log" not in caplog.text


def test_one_failing_event_does_not_stop_the_next(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inbound.apply

    def poisoned(row: WebhookEvent) -> str:
        if row.body["data"]["key"]["id"] == "A1":
            raise ValueError
        return real(row)

    monkeypatch.setattr(inbound, "apply", poisoned)
    stored(entry(instance, message_body("A1")), entry(instance, message_body("A2")))
    assert journal.drain(10)
    assert Message.objects.get().provider_id == "A2"


def test_a_database_that_is_away_fails_no_event(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    row = left_over(instance, message_body("A1"))
    monkeypatch.setattr(inbound, "apply", _raise(OperationalError("gone")))
    for _ in range(applier.TRIES + 3):
        journal.sweep_once()
        WebhookEvent.objects.update(applied_at=timezone.now() - HOUR)
    row.refresh_from_db()
    assert row.state == State.NEW
    monkeypatch.undo()
    assert journal.sweep_once() == 1


def test_stop_applies_what_was_stored_and_a_later_event_starts_anew(instance: Instance) -> None:
    stored(*(entry(instance, message_body(f"A{number}")) for number in range(20)))
    journal.stop(20)
    assert Message.objects.count() == 20
    stored(entry(instance, message_body("B1")))
    assert journal.drain(10)
    assert Message.objects.count() == 21


def test_a_child_process_has_threads_of_its_own(instance: Instance) -> None:
    stored(entry(instance, message_body("A1")))
    assert journal.drain(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if journal._parts is None and not journal._lock.locked() else 1)
    assert os.waitpid(child, 0)[1] == 0


def _raise(error: Exception) -> Callable[[WebhookEvent], str]:
    def fail(row: WebhookEvent) -> str:
        raise error

    return fail
