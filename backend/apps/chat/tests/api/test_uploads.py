"""`attachments/` and messages that carry files: kept once, used once, in order, all or none."""

from __future__ import annotations

import io
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from PIL import Image
from rest_framework.test import APIClient

from apps.chat import uploads
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.inbound.previews import preview_again
from apps.chat.media import ffmpeg, store
from apps.chat.models import Delivery, Message, MessageAttachment
from apps.chat.tests.api.world import Team

pytestmark = pytest.mark.usefixtures("files_in")
PDF = b"%PDF-1.7\n" + b"\0" * 100
OPUS = b"OggS\0\x02" + b"\0" * 22 + b"OpusHead\x01\x01" + b"\0" * 200


@pytest.fixture
def files_in(tmp_path: Path, settings: Any) -> Path:
    backend = "django.core.files.storage.FileSystemStorage"
    default = {"BACKEND": backend, "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    return tmp_path


def png(width: int = 8, height: int = 6) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, "PNG")
    return out.getvalue()


def upload(team: Team, data: bytes = PDF, name: str = "orcamento.pdf", **form: Any) -> Any:
    body = {"file": SimpleUploadedFile(name, data), **form}
    return team.client.post("/api/chat/attachments/", body, format="multipart")


def uploaded(team: Team, data: bytes = PDF, name: str = "orcamento.pdf", **form: Any) -> str:
    response = upload(team, data, name, **form)
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def send(team: Team, *files: str, content: str = "", **more: Any) -> Any:
    return team.say(content, attachments=list(files), **more)


def test_an_upload_is_kept_and_described(team: Team) -> None:
    body = upload(team, png(), "../../foto da praia.png").json()

    assert (body["kind"], body["status"], body["mime_type"]) == ("image", "completed", "image/png")
    assert (body["width"], body["height"], body["message"]) == (8, 6, None)
    assert body["file_name"] == "foto da praia.png"
    assert body["thumbnail_url"].startswith("/api/chat/attachments/")
    row = MessageAttachment.objects.get(pk=body["id"])
    with store.open_kept(row.file) as kept:
        assert kept.read() == png()


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("empty", b"", 400, None),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", 400, "media_type_refused"),
        ("a.html", b"<!doctype html><script>1</script>", 400, "media_type_refused"),
        ("a.exe", b"MZ" + b"\0" * 64, 400, "media_type_refused"),
        ("broken.png", png()[:40], 400, "media_damaged"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_reason(
    team: Team, name: str, data: bytes, status: int, code: str | None
) -> None:
    response = upload(team, data, name)

    assert response.status_code == status
    assert code is None or response.json()["code"] == code
    assert MessageAttachment.objects.count() == 0


def test_a_file_that_is_too_big_is_refused(team: Team, settings: Any) -> None:
    settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES = 64

    assert upload(team).status_code == 413
    assert MessageAttachment.objects.count() == 0


def test_an_upload_is_a_form_with_a_file(team: Team) -> None:
    assert team.post("attachments/", {"file": "x"}).status_code == 415
    assert team.client.post("/api/chat/attachments/", {}, format="multipart").status_code == 400


def test_the_pages_session_may_upload_with_its_csrf_token_and_not_without(team: Team) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(team.user)
    client.cookies["csrftoken"] = "a" * 32

    def post(**headers: str) -> Any:
        body = {"file": SimpleUploadedFile("a.pdf", PDF), "conversation": str(team.conversation.pk)}
        return client.post("/api/chat/attachments/", body, format="multipart", **headers)

    assert post().status_code == 403
    response = post(HTTP_X_CSRFTOKEN="a" * 32)
    assert response.status_code == 201, response.content
    assert response.json()["file_name"] == "a.pdf"


def test_a_large_picture_goes_as_a_document(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_IN_PLACE", {"image/png": ("image", 10)})

    assert upload(team, png(), "a.png").json()["kind"] == "document"


def test_opus_becomes_a_voice_message(team: Team) -> None:
    body = upload(team, OPUS, "a.ogg", voice="true").json()

    assert (body["kind"], body["mime_type"], body["reason"]) == ("voice", "audio/ogg", "")


def test_without_ffmpeg_another_sound_stays_a_sound_and_says_so(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "available", lambda: False)

    body = upload(team, b"ID3\x03" + b"\0" * 200, "a.mp3", voice="true").json()

    assert (body["kind"], body["reason"]) == ("audio", "voice_not_converted")
    assert "sound" in body["reason_text"]["en"]


@pytest.mark.skipif(not ffmpeg.available(), reason="no ffmpeg here")
def test_another_sound_is_converted_to_a_voice_message(team: Team, tmp_path: Path) -> None:
    made = tmp_path / "a.wav"
    tone = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.5", str(made)]
    subprocess.run(tone, check=True)

    body = upload(team, made.read_bytes(), "recado.wav", voice="true").json()

    assert (body["kind"], body["mime_type"], body["file_name"]) == ("voice", "audio/ogg", "recado.ogg")
    row = MessageAttachment.objects.get(pk=body["id"])
    with store.open_kept(row.file) as kept:
        assert kept.read(4) == b"OggS"


# --- sending ----------------------------------------------------------------------------------------


def test_the_words_go_with_the_first_of_several_files(team: Team) -> None:
    files = [uploaded(team, png(), "a.png"), uploaded(team), uploaded(team, png(9), "b.png")]

    response = send(team, *files, content="Segue", client_message_id="c-1")

    assert response.status_code == 201, response.content
    body = response.json()
    rows = body["messages"]
    assert [row["content"] for row in rows] == ["Segue", "", ""]
    assert [row["kind"] for row in rows] == ["image", "document", "image"]
    assert [row["client_message_id"] for row in rows] == ["c-1", "c-1#2", "c-1#3"]
    assert [row["attachments"][0]["id"] for row in rows] == files
    assert (body["id"], body["status"]) == (rows[0]["id"], "queued")
    lane = Delivery.objects.order_by("seq")
    assert [(one.seq, one.kind) for one in lane] == [(n, Delivery.Kind.MEDIA) for n in (1, 2, 3)]
    assert lane[1].fingerprint == fingerprint("media", mediatype="document", file_name="orcamento.pdf")


def test_a_file_without_words_shows_in_the_list_as_its_kind(team: Team) -> None:
    send(team, uploaded(team, png(), "a.png"))
    team.conversation.refresh_from_db()
    assert team.conversation.last_message_preview == "[image]"

    team.conversation.last_message_preview = "stale"
    preview_again(team.conversation)
    assert team.conversation.last_message_preview == "[image]"


def test_the_same_request_again_answers_the_same_messages(team: Team) -> None:
    files = [uploaded(team), uploaded(team)]
    first = send(team, *files, content="Segue", client_message_id="c-1")

    again = send(team, *files, content="Segue", client_message_id="c-1")

    assert (first.status_code, again.status_code) == (201, 200)
    assert [row["id"] for row in again.json()["messages"]] == [row["id"] for row in first.json()["messages"]]
    assert Delivery.objects.count() == 2
    assert send(team, *files[::-1], content="Segue", client_message_id="c-1").status_code == 409


def test_words_beside_a_sound_go_before_it(team: Team) -> None:
    sound = uploaded(team, OPUS, "a.ogg", voice="true")

    rows = send(team, sound, content="Escute", client_message_id="c-1").json()["messages"]

    assert [(row["kind"], row["content"]) for row in rows] == [("text", "Escute"), ("audio", "")]
    again = send(team, sound, content="Escute", client_message_id="c-1").json()["messages"]
    assert [row["id"] for row in again] == [row["id"] for row in rows]


def test_a_file_is_used_once_and_then_nothing_of_the_request_is_stored(team: Team) -> None:
    used, fresh = uploaded(team), uploaded(team)
    send(team, used)

    response = send(team, fresh, used)

    assert response.status_code == 409
    assert Message.objects.count() == 1
    assert MessageAttachment.objects.get(pk=fresh).message_id is None


def test_an_agent_may_send_what_a_colleague_uploaded_and_nobody_elses(team: Team, others: Team) -> None:
    theirs = uploaded(others)

    assert send(team, theirs).status_code == 404
    assert send(team, str(uuid.uuid4())).status_code == 404
    assert upload(team, conversation=str(others.conversation.pk)).status_code == 404
    assert upload(team, tenant=str(others.tenant.pk)).status_code == 400
    assert APIClient().post("/api/chat/attachments/", {}, format="multipart").status_code == 401


@pytest.mark.parametrize("files", [["x"], [7], "x", [{"url": "http://a"}]])
def test_attachments_are_ids(team: Team, files: Any) -> None:
    assert team.say("a", attachments=files).status_code == 400


def test_a_file_twice_or_one_that_came_in_is_refused(team: Team) -> None:
    mine = uploaded(team)
    came = MessageAttachment.objects.create(tenant=team.tenant, status="completed")

    assert send(team, mine, mine).status_code == 400
    assert send(team, str(came.pk)).status_code == 400


def test_words_that_cannot_be_sent_keep_the_file_unused(team: Team) -> None:
    mine = uploaded(team)

    assert send(team, mine, content="a\x00").status_code == 400
    assert MessageAttachment.objects.get(pk=mine).message_id is None


def test_a_caption_is_edited_while_it_waits_and_a_sound_has_none(team: Team) -> None:
    shown = send(team, uploaded(team), content="Segue").json()
    sound = send(team, uploaded(team, OPUS, "a.ogg")).json()

    assert team.post(f"messages/{shown['id']}/edit/", {"content": "Segue o PDF"}).status_code == 200
    assert team.post(f"messages/{sound['id']}/edit/", {"content": "x"}).status_code == 409

    row = Delivery.objects.get(message_id=shown["id"])
    said = {"mediatype": "document", "caption": "Segue o PDF", "file_name": "orcamento.pdf"}
    assert row.fingerprint == fingerprint("media", **said)


def test_uploads_that_nobody_sends_are_forgotten_after_a_day(team: Team) -> None:
    old, used, fresh = uploaded(team), uploaded(team), uploaded(team)
    send(team, used)
    came = MessageAttachment.objects.create(tenant=team.tenant)
    yesterday = timezone.now() - timedelta(days=1, minutes=1)
    MessageAttachment.objects.exclude(pk=fresh).update(created_at=yesterday)

    assert uploads.forget_unused() == 1

    left = {str(pk) for pk in MessageAttachment.objects.values_list("pk", flat=True)}
    assert left == {used, fresh, str(came.pk)}
    assert old not in left
