"""Webhooks with files: a pending row beside the message, made of what the sender claims."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from apps.chat import inbound
from apps.chat.inbound.state import state_hash
from apps.chat.media import carried, wake
from apps.chat.models import Instance, Message, MessageAttachment
from apps.chat.tests.inbound.conftest import (  # noqa: F401  (fixtures)
    _threads,
    apply,
    capture,
    instance,
    journalled,
    message_body,
    tenant,
)

Apply = Callable[..., str]
PREVIEW = b"\xff\xd8\xff tiny"


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr("apps.chat.media.intake.wake", lambda pk, message: found.append(pk))
    return found


def media_body(key_id: str, part: str, beside: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    body = message_body(key_id)
    known = {"mimetype": "image/jpeg", "fileLength": {"low": 1234, "high": 0}, "mediaKey": {"0": 1}, **fields}
    body["data"] |= {"message": {part: known, **(beside or {})}, "messageType": part}
    return body


def only() -> MessageAttachment:
    return MessageAttachment.objects.get()


def test_a_picture_is_pending_as_soon_as_its_message_is_there(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    thumb = {str(place): byte for place, byte in enumerate(PREVIEW)}
    apply(media_body("P1", "imageMessage", width=80, height=100, caption="olha", jpegThumbnail=thumb))
    row = only()
    assert (row.kind, row.status, row.mime_type, row.size) == ("image", "pending", "image/jpeg", 1234)
    assert (row.width, row.height, base64.b64decode(row.preview)) == (80, 100, PREVIEW)
    assert row.message is not None and row.message.content == "olha"
    assert row.source == {
        "id": "P1",
        "remote_jid": "5511990000001@s.whatsapp.net",
        "from_me": False,
        "participant": "",
        "size": 1234,
    }
    assert woken == [row.pk]


def test_a_webhook_twice_is_one_file(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    apply(media_body("P1", "imageMessage"))
    apply(media_body("P1", "imageMessage"))
    assert MessageAttachment.objects.count() == len(woken) == 1


@pytest.mark.parametrize(
    ("name", "kind", "duration", "file_name"),
    [
        ("wain_audio_ptt__2_messages_upsert", "voice", 4000, ""),
        ("wain_video__2_messages_upsert", "video", 3000, ""),
        ("wain_document__2_messages_upsert", "document", None, "r.pdf"),
        ("wain_document_caption__2_messages_upsert", "document", None, "r.pdf"),
    ],
)
def test_captured_webhooks(
    apply: Apply,  # noqa: F811
    woken: list[Any],
    name: str,
    kind: str,
    duration: int | None,
    file_name: str,
) -> None:
    apply(capture(name))
    row = only()
    assert (row.kind, row.duration_ms, row.file_name, row.size) == (kind, duration, file_name, 1234)
    assert row.status == "pending"


@pytest.mark.parametrize("name", ["wain_viewonce__2_messages_upsert", "wain_location__2_messages_upsert"])
def test_what_has_no_file_for_us_gets_no_row(apply: Apply, woken: list[Any], name: str) -> None:  # noqa: F811
    apply(capture(name))
    assert not MessageAttachment.objects.exists() and not woken


def test_a_file_that_is_too_large_is_not_even_asked_for(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    apply(media_body("P1", "imageMessage", fileLength="999999999"))
    row = only()
    assert (row.status, row.reason) == ("skipped", "media_too_big")
    assert not woken


def test_a_path_in_a_file_name_is_only_a_name(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    apply(media_body("P1", "documentMessage", fileName="../../../etc/cron.d/evil.pdf"))
    assert only().file_name == "evil.pdf"


def test_a_file_typed_on_the_phone_comes_too(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    body = media_body("P1", "imageMessage")
    body["data"]["key"]["fromMe"] = True
    apply(body)
    row = only()
    assert row.source is not None and row.source["from_me"] is True
    assert row.message is not None and row.message.origin == Message.Origin.PHONE


def test_what_the_webhook_carries_itself_is_remembered_not_copied(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    apply(media_body("P1", "imageMessage", {"base64": "aGVsbG8="}))
    row = only()
    assert row.source is not None and isinstance(row.source["event"], int)
    assert "aGVsbG8" not in str(row.source)


def test_applied_once_more_without_its_file_a_webhook_changes_nothing(
    instance: Instance,  # noqa: F811
    woken: list[Any],
) -> None:
    event = journalled(instance, media_body("P1", "imageMessage", {"base64": "aGVsbG8="}))
    inbound.apply(event)
    row, before = only(), state_hash(instance)
    assert carried.take_out(row)
    event.refresh_from_db()
    assert "base64" not in event.body["data"]["message"]
    inbound.apply(event)
    assert state_hash(instance) == before
    assert only().source == row.source
    assert not carried.take_out(row), "there is nothing left to take out"


def test_an_address_counts_only_when_whatsapp_has_no_file(apply: Apply, woken: list[Any]) -> None:  # noqa: F811
    url = "https://files.example.org/x.jpg"
    apply(media_body("P1", "imageMessage", {"mediaUrl": url}))
    apply(media_body("P2", "imageMessage", {"mediaUrl": url}, mediaKey=None))
    sources = dict(MessageAttachment.objects.values_list("message__provider_id", "source__url"))
    assert sources == {"P1": None, "P2": url}


@pytest.mark.parametrize(
    "claims",
    [
        {"fileLength": "x" * 50, "seconds": -4, "width": True, "jpegThumbnail": {"a": 1}, "waveform": "####"},
        {
            "fileLength": {"low": "a"},
            "seconds": 10**30,
            "width": 10**30,
            "jpegThumbnail": [],
            "fileName": {"a": 1},
        },
        {"mimetype": ["x"], "fileName": "\x00\ud800", "waveform": list(range(1000)), "mediaKey": 5},
        {"mimetype": "x" * 5000, "fileName": "y" * 5000},
    ],
)
def test_absurd_claims_are_no_reason_to_lose_a_message(
    apply: Apply,  # noqa: F811
    instance: Instance,  # noqa: F811
    woken: list[Any],
    claims: dict[str, Any],
) -> None:
    apply(media_body("P1", "documentMessage", **claims))
    assert only().status == "pending"


def test_without_a_broker_the_workers_of_this_process_are_told() -> None:
    told: list[Any] = []
    wake.listen(told.append)
    try:
        wake.wake("id")  # type: ignore[arg-type]
    finally:
        wake.unlisten(told.append)
    assert told == ["id"]
