"""Fetching one file: what is taken, what is refused and why, what is tried again."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.chat.evolution.client import EvolutionClient
from apps.chat.media import claims, incoming, store
from apps.chat.media.errors import StorageAway
from apps.chat.models import Conversation, MessageAttachment, WebhookEvent
from apps.chat.tests import factories
from apps.chat.tests.media.world import (
    HTML,
    OGG,
    PDF,
    SVG,
    Evolution,
    downloaded,
    error,
    jpeg,
    make_attachment,
    make_message,
    png,
    png_bomb,
    process,
)

Told = list[dict[str, Any]]


def waiting(conversation: Conversation, kind: str = "image", **values: Any) -> MessageAttachment:
    return make_attachment(make_message(conversation, kind), **values)


def id_of(row: MessageAttachment) -> str:
    assert row.message is not None and row.message.provider_id is not None
    return row.message.provider_id


def state(row: MessageAttachment) -> tuple[str, str]:
    row.refresh_from_db()
    return row.status, row.reason


def due_now(row: MessageAttachment, age: float = 0) -> None:
    MessageAttachment.objects.filter(pk=row.pk).update(
        wake_at=Now() - timedelta(seconds=1), asked_at=Now() - timedelta(seconds=age)
    )


def test_a_picture_is_fetched_looked_at_and_kept(
    conversation: Conversation, evolution: Evolution, told: Told
) -> None:
    data = jpeg(600, 400)
    row = waiting(conversation, size=len(data), mime_type="text/html", preview="AAAA")
    evolution.files[id_of(row)] = data
    assert process(row.pk) == [None]
    assert state(row) == ("completed", "")
    assert (row.mime_type, row.size, row.width, row.height) == ("image/jpeg", len(data), 600, 400)
    assert row.completed_at is not None and row.owner == ""
    with store.open_kept(row.file) as file:
        assert file.read() == data
    assert store.size_of(row.thumbnail) > 100
    assert [event["attachment"]["status"] for event in told] == ["processing", "completed"]
    assert told[-1]["message_id"] == str(row.message_id)
    assert told[-1]["conversation_id"] == str(conversation.pk)


@pytest.mark.parametrize(
    ("kind", "data", "status", "reason"),
    [
        ("image", SVG, "skipped", "media_type_refused"),
        ("image", HTML, "skipped", "media_type_refused"),
        ("document", HTML, "skipped", "media_type_refused"),
        ("image", PDF, "failed", "media_kind_mismatch"),
        ("image", png_bomb(), "failed", "media_too_many_pixels"),
        ("video", jpeg(), "failed", "media_kind_mismatch"),
        ("document", b"MZ\x90\x00" + bytes(100), "skipped", "media_type_refused"),
        ("sticker", OGG, "failed", "media_kind_mismatch"),
    ],
)
def test_hostile_files_are_refused_with_a_reason(
    conversation: Conversation,
    evolution: Evolution,
    told: Told,
    kind: str,
    data: bytes,
    status: str,
    reason: str,
) -> None:
    row = waiting(conversation, kind, size=len(data))
    evolution.files[id_of(row)] = data
    assert process(row.pk) == [None]
    assert state(row) == (status, reason)
    assert row.file == ""
    assert told[-1]["attachment"]["reason_text"]["pt"]


@pytest.mark.parametrize(
    ("data", "claimed", "reason"),
    [
        (jpeg(), 5, "media_length_mismatch"),
        (b"", None, "media_empty"),
        (b"", 100, "media_empty"),
        (jpeg(800, 800)[:2000], None, "media_damaged"),
    ],
)
def test_what_came_broken_is_asked_for_once_more_then_refused(
    conversation: Conversation, evolution: Evolution, data: bytes, claimed: int | None, reason: str
) -> None:
    row = waiting(conversation, size=claimed)
    evolution.files[id_of(row)] = data
    process(row.pk)
    assert state(row) == ("pending", reason)
    due_now(row)
    process(row.pk)
    assert state(row) == ("failed", reason)
    assert len(evolution.asked) == 2


def test_a_file_larger_than_it_said_is_cut_off_not_stored(
    conversation: Conversation, evolution: Evolution, settings: Any
) -> None:
    settings.CHAT_MEDIA_MAX_IMAGE_BYTES = 2000
    row = waiting(conversation, size=100)
    evolution.files[id_of(row)] = jpeg() + bytes(5000)
    process(row.pk)
    assert state(row) == ("skipped", "media_too_big")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"no json", downloaded(jpeg())[:300], b'{"base64":"%%%%"}', b"[" * 100_000]
)
def test_an_answer_that_makes_no_sense_is_not_a_crash(
    conversation: Conversation, evolution: Evolution, body: bytes
) -> None:
    row = waiting(conversation)
    evolution.says[id_of(row)] = (201, body)
    process(row.pk)
    assert state(row) == ("pending", "media_damaged")


def test_while_evolution_is_behind_no_try_is_burnt(conversation: Conversation, evolution: Evolution) -> None:
    row = waiting(conversation)
    for _ in range(20):
        again = process(row.pk)[0]
        assert again is not None and again <= 15
        due_now(row, age=30)
    assert state(row) == ("pending", "media_not_found_yet")
    assert row.tries == 0
    evolution.files[id_of(row)] = jpeg()
    process(row.pk)
    assert state(row) == ("completed", "")


def test_a_message_evolution_never_learns_of_fails_in_the_end(
    conversation: Conversation, evolution: Evolution, settings: Any
) -> None:
    row = waiting(conversation)
    for _ in range(settings.CHAT_MEDIA_MAX_TRIES):
        due_now(row, age=120)
        process(row.pk)
    assert state(row) == ("failed", "media_gone")


@pytest.mark.parametrize(
    ("says", "status", "reason", "tries"),
    [
        ((400, error("The message is not of the media type")), "failed", "media_gone", 0),
        ((400, error("Error: Failed to fetch stream from x")), "pending", "media_download_failed", 1),
        ((400, error("Error: Connection Closed")), "pending", "media_unreachable", 0),
        ((500, error("boom", 500)), "pending", "media_unreachable", 0),
        ((401, b"{}"), "pending", "media_unreachable", 0),
        ((504, b"gateway"), "pending", "media_unreachable", 0),
    ],
)
def test_what_evolution_says_decides_about_trying_again(
    conversation: Conversation, evolution: Evolution, says: Any, status: str, reason: str, tries: int
) -> None:
    row = waiting(conversation)
    evolution.says[id_of(row)] = says
    process(row.pk)
    assert state(row) == (status, reason)
    assert row.tries == tries


def test_while_the_server_is_away_no_try_is_burnt(conversation: Conversation, evolution: Evolution) -> None:
    row = waiting(conversation)
    evolution.close()
    for _ in range(12):
        due_now(row, age=4000)
        assert process(row.pk) == [300.0]
    assert state(row) == ("pending", "media_unreachable")
    assert row.tries == 0


def test_while_the_storage_is_away_no_try_is_burnt_and_then_all_come(
    conversation: Conversation, evolution: Evolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 38."""
    rows = [waiting(conversation) for _ in range(3)]
    for row in rows:
        evolution.files[id_of(row)] = jpeg()

    def away(*_: Any) -> None:
        raise StorageAway("EndpointConnectionError")

    with monkeypatch.context() as patch:
        patch.setattr(store.Incoming, "keep", away)
        for _ in range(10):
            process(*(row.pk for row in rows))
            for row in rows:
                assert state(row) == ("pending", "media_storage_away")
                due_now(row, age=3600)
    process(*(row.pk for row in rows))
    assert {state(row) for row in rows} == {("completed", "")}
    assert {row.tries for row in rows} == {0}


def test_two_workers_at_once_complete_it_once(
    conversation: Conversation, evolution: Evolution, told: Told
) -> None:
    row = waiting(conversation)
    evolution.files[id_of(row)] = jpeg()
    process(row.pk, at_once=4)
    assert state(row) == ("completed", "")
    assert evolution.asked == [id_of(row)]
    assert len([event for event in told if event["attachment"]["status"] == "completed"]) == 1


def test_a_worker_that_lost_its_lease_changes_nothing(
    conversation: Conversation, evolution: Evolution, told: Told
) -> None:
    row = waiting(conversation)
    evolution.files[id_of(row)] = jpeg()

    def takeover() -> None:
        due_now(row)
        thread = threading.Thread(target=claims.claim, args=[row.pk])
        thread.start()
        thread.join()

    evolution.before = takeover
    process(row.pk)
    assert state(row) == ("processing", "")
    assert [
        event["attachment"]["status"] for event in told if event["attachment"]["status"] == "completed"
    ] == []


def test_a_file_that_takes_longer_than_the_lease_stays_ours(
    conversation: Conversation, evolution: Evolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(incoming, "RENEW_SECONDS", 0.1)
    row = waiting(conversation)
    evolution.files[id_of(row)] = jpeg()
    stolen: list[Any] = []

    def slowly() -> None:
        for _ in range(10):
            time.sleep(0.1)
            stolen.extend(claims.due(1))
        connection.close()

    evolution.before = slowly
    process(row.pk)
    assert state(row) == ("completed", "")
    assert stolen == []


def test_a_worker_that_is_told_to_stop_gives_the_row_back(
    conversation: Conversation, evolution: Evolution
) -> None:
    row = waiting(conversation)
    asked = threading.Event()

    def slowly() -> None:
        asked.set()
        time.sleep(0.5)

    evolution.before = slowly

    async def stopped() -> None:
        with ThreadPoolExecutor(4) as threads:
            async with EvolutionClient() as client:
                task = asyncio.create_task(incoming.Fetcher(client, threads).process(row.pk))
                await asyncio.to_thread(asked.wait, 10)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(stopped())
    assert state(row) == ("pending", "")
    assert claims.due(5) == [(row.pk, conversation.instance_id)]


def test_a_row_that_is_held_or_done_or_early_is_left_alone(
    conversation: Conversation, evolution: Evolution
) -> None:
    held, early, done = (waiting(conversation) for _ in range(3))
    assert claims.claim(held.pk)
    MessageAttachment.objects.filter(pk=early.pk).update(wake_at=Now() + timedelta(seconds=50))
    MessageAttachment.objects.filter(pk=done.pk).update(status="completed")
    left = process(held.pk, early.pk, done.pk)
    assert 20 < (left[0] or 0) <= 30 and 40 < (left[1] or 0) <= 50 and left[2] is None
    assert evolution.asked == []


def test_a_webhook_that_carries_the_file_saves_the_call(
    conversation: Conversation, evolution: Evolution
) -> None:
    data = jpeg()
    row = waiting(conversation, size=len(data))
    carry(row, base64.b64encode(data).decode())
    process(row.pk)
    assert state(row) == ("completed", "")
    assert evolution.asked == []


@pytest.mark.parametrize(
    "text", ["", "%%%", base64.b64encode(HTML).decode(), base64.b64encode(jpeg()[:-9]).decode()]
)
def test_what_a_webhook_carries_is_not_believed(
    conversation: Conversation, evolution: Evolution, text: str
) -> None:
    data = jpeg()
    row = waiting(conversation, size=len(data))
    carry(row, text)
    evolution.files[id_of(row)] = data
    process(row.pk)
    assert state(row) == ("completed", "")
    assert evolution.asked == [id_of(row)]


def test_the_journal_is_rid_of_a_file_that_is_kept(conversation: Conversation, evolution: Evolution) -> None:
    data = jpeg(300, 200)
    row, other = waiting(conversation, size=len(data)), waiting(conversation, size=len(data))
    for one in (row, other):
        carry(one, base64.b64encode(data).decode())
    process(row.pk)
    assert state(row) == ("completed", "")
    assert row.source is not None and other.source is not None
    assert journalled(row) == {"data": {"message": {"imageMessage": {"caption": "\u00e9"}}}}
    assert journalled(other)["data"]["message"]["base64"], "whose file is not kept yet needs it"


def test_a_file_that_was_refused_stays_in_the_journal(
    conversation: Conversation, evolution: Evolution
) -> None:
    row = waiting(conversation, size=len(HTML))
    carry(row, base64.b64encode(HTML).decode())
    evolution.files[id_of(row)] = HTML
    process(row.pk)
    assert state(row)[0] != "completed"
    assert journalled(row)["data"]["message"]["base64"]


def test_what_was_taken_out_of_the_journal_is_fetched_from_evolution(
    conversation: Conversation, evolution: Evolution
) -> None:
    data = jpeg(300, 200)
    row = waiting(conversation, size=len(data))
    carry(row, base64.b64encode(data).decode())
    process(row.pk)
    MessageAttachment.objects.filter(pk=row.pk).update(status="failed", file="", thumbnail="")
    assert claims.ask_again(row.pk)
    evolution.files[id_of(row)] = data
    process(row.pk)
    assert state(row) == ("completed", "")
    assert evolution.asked == [id_of(row)]


def test_another_numbers_webhook_is_left_alone(conversation: Conversation, evolution: Evolution) -> None:
    data = jpeg(300, 200)
    row = waiting(conversation, size=len(data))
    carry(row, base64.b64encode(data).decode())
    elsewhere = factories.make_instance(name="elsewhere")
    WebhookEvent.objects.update(instance=elsewhere)
    process(row.pk)
    assert journalled(row)["data"]["message"]["base64"]


def journalled(row: MessageAttachment) -> Any:
    assert row.source is not None
    return WebhookEvent.objects.get(pk=row.source["event"]).body


def carry(row: MessageAttachment, text: str) -> None:
    assert row.message is not None and row.source is not None
    body = {"data": {"message": {"base64": text, "imageMessage": {"caption": "\u00e9"}}}}
    event = WebhookEvent.objects.create(
        instance_id=row.message.instance_id, event="messages.upsert", body=body
    )
    row.source["event"] = event.pk
    row.save(update_fields=["source"])


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "https://127.0.0.1:1/x", "file:///etc/passwd"]
)
def test_an_address_that_is_nobodys_business_is_not_opened(
    conversation: Conversation, evolution: Evolution, url: str
) -> None:
    row = waiting(conversation)
    assert row.source is not None
    MessageAttachment.objects.filter(pk=row.pk).update(source={**row.source, "url": url})
    process(row.pk)
    assert state(row) == ("failed", "media_address_refused")


def test_a_file_at_evolutions_own_address_is_taken(conversation: Conversation, evolution: Evolution) -> None:
    data = jpeg(300, 300)
    row = waiting(conversation, size=len(data))
    assert row.source is not None
    source = {**row.source, "url": f"{evolution.url}/store/x.jpg"}
    MessageAttachment.objects.filter(pk=row.pk).update(source=source)
    process(row.pk)
    assert state(row) == ("pending", "media_download_failed")
    evolution.files["/store/x.jpg"] = data
    due_now(row)
    process(row.pk)
    assert state(row) == ("completed", "")


def test_no_credential_is_told_or_kept(conversation: Conversation, evolution: Evolution, told: Told) -> None:
    row = waiting(conversation)
    evolution.says[id_of(row)] = (400, error("Error: apikey test-key refused"))
    process(row.pk)
    row.refresh_from_db()
    assert "test-key" not in json.dumps([told, row.source, row.reason])


def test_identical_files_share_their_bytes(conversation: Conversation, evolution: Evolution) -> None:
    data = png()
    rows = [waiting(conversation, size=len(data)) for _ in range(2)]
    for row in rows:
        evolution.files[id_of(row)] = data
    process(*(row.pk for row in rows))
    assert {state(row) for row in rows} == {("completed", "")}
    assert rows[0].file == rows[1].file
