"""Files as callers see them: shapes, signed links, ranges, and nothing that runs in the agent's page."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from apps.chat import media_links
from apps.chat.media import store
from apps.chat.models import MessageAttachment
from apps.chat.tests.api.world import PASSWORD, Team, make_team
from apps.chat.tests.media.world import HTML, PDF, jpeg

DATA = bytes(range(256)) * 40


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Ana")


@pytest.fixture
def others(db: None) -> Team:
    return make_team("Bruno")


def kept(
    team: Team, data: bytes = DATA, mime: str = "video/mp4", kind: str = "video", **values: Any
) -> MessageAttachment:
    """A file that has come."""
    file = store.keep(team.tenant.pk, [data], 1 << 20)
    small = store.keep(team.tenant.pk, [jpeg()], 1 << 20)
    given = {"status": "completed", "mime_type": mime, "kind": kind, "size": file.size, "sha256": file.sha256}
    given |= {
        "file": file.name,
        "thumbnail": small.name,
        "file_name": "filme de f\u00e9rias.mp4",
        "source": {"id": "X"},
    }
    message = team.incoming(kind=kind)
    return MessageAttachment.objects.create(tenant=team.tenant, message=message, **{**given, **values})


def body(response: Any) -> bytes:
    """A streamed answer's bytes."""
    if not response.streaming:
        return bytes(response.content)

    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return asyncio.run(read())


def link(row: MessageAttachment, part: str = media_links.CONTENT) -> str:
    return media_links.link(row.pk, row.tenant_id, part)


# --- shapes ---------------------------------------------------------------------------------------


def test_a_message_shows_its_files(team: Team) -> None:
    row = kept(team, width=640, height=360, duration_ms=1500, waveform=[1, 2])
    shown = team.get(f"messages/{row.message_id}/").json()["attachments"]
    assert len(shown) == 1
    url, thumbnail = shown[0].pop("url"), shown[0].pop("thumbnail_url")
    assert shown[0] == {
        "id": str(row.pk),
        "message": str(row.message_id),
        "kind": "video",
        "status": "completed",
        "reason": "",
        "reason_text": None,
        "mime_type": "video/mp4",
        "file_name": "filme de f\u00e9rias.mp4",
        "size": len(DATA),
        "width": 640,
        "height": 360,
        "duration_ms": 1500,
        "waveform": [1, 2],
        "preview": None,
    }
    assert body(APIClient().get(url)) == DATA
    assert body(APIClient().get(thumbnail)).startswith(b"\xff\xd8\xff")
    assert team.get(f"attachments/{row.pk}/").json()["size"] == len(DATA)


def test_a_file_on_its_way_shows_the_senders_preview_and_no_link(team: Team) -> None:
    row = kept(team, status="pending", thumbnail="", preview="/9j/", reason="media_not_found_yet")
    shown = team.get(f"attachments/{row.pk}/").json()
    assert (shown["url"], shown["thumbnail_url"]) == (None, None)
    assert shown["preview"] == "data:image/jpeg;base64,/9j/"
    assert shown["reason_text"]["en"].startswith("Evolution does not know")
    assert APIClient().get(link(row)).status_code == 404


def test_a_page_of_files_costs_no_more_queries_than_one(team: Team) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert team.get(f"conversations/{team.conversation.pk}/messages/").status_code == 200
        return len(asked)

    team.incoming()
    texts_only = queries()
    kept(team)
    with_one = queries()
    for _ in range(10):
        kept(team)
    assert queries() == with_one == texts_only + 1


# --- who may --------------------------------------------------------------------------------------


def test_a_link_works_without_logging_in_and_for_its_file_only(team: Team) -> None:
    row, second = kept(team), kept(team)
    token = parse_qs(urlsplit(link(row)).query)["t"][0]
    assert APIClient().get(f"/api/chat/attachments/{row.pk}/content/?t={token}").status_code == 200
    assert APIClient().get(f"/api/chat/attachments/{second.pk}/content/?t={token}").status_code == 404
    assert APIClient().get(f"/api/chat/attachments/{row.pk}/thumbnail/?t={token}").status_code == 404


@pytest.mark.parametrize("token", ["x", "9999999999.x", "-1.x", "1e9.x", "9" * 40 + ".x", ".", "\u0665.x"])
def test_a_forged_link_finds_nothing(team: Team, token: str) -> None:
    assert APIClient().get(f"/api/chat/attachments/{kept(team).pk}/content/", {"t": token}).status_code == 404


def test_a_link_of_another_tenants_signature_finds_nothing(team: Team, others: Team) -> None:
    row = kept(team)
    forged = media_links.link(row.pk, others.tenant.pk, media_links.CONTENT)
    assert APIClient().get(forged).status_code == 404


def test_a_link_ends(team: Team, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = kept(team)
    url = link(row)
    assert link(row) == url  # the same for a while, so that browsers keep what they have
    now = media_links.time.time()
    monkeypatch.setattr(media_links.time, "time", lambda: now + 2 * settings.CHAT_MEDIA_URL_SECONDS + 1)
    answer = APIClient().get(url)
    assert answer.status_code == 403
    assert answer.json()["code"] == "link_expired"


def test_nobody_without_a_link(team: Team) -> None:
    row = kept(team)
    for part in ("", "content/", "thumbnail/"):
        answer = APIClient().get(f"/api/chat/attachments/{row.pk}/{part}")
        assert answer.status_code == 401, part
        assert answer["Content-Type"] == "application/problem+json"
    assert APIClient().post(f"/api/chat/attachments/{row.pk}/download-again/").status_code == 401


def test_another_tenants_people_find_nothing_even_with_the_link(team: Team, others: Team) -> None:
    row = kept(team)
    for part in ("", "content/", "thumbnail/"):
        assert others.get(f"attachments/{row.pk}/{part}").status_code == 404, part
    assert others.client.get(link(row)).status_code == 404
    assert others.post(f"attachments/{row.pk}/download-again/").status_code == 404
    browser = APIClient()
    assert browser.login(username=others.user.email, password=PASSWORD)
    assert browser.get(link(row)).status_code == 404


def test_members_need_no_link(team: Team) -> None:
    row = kept(team)
    answer = team.get(f"attachments/{row.pk}/content/")
    assert body(answer) == DATA and answer["Cache-Control"] == "private, no-cache"
    assert team.get(f"attachments/{uuid4()}/").status_code == 404


# --- harmless -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mime", "sent_as", "disposition"),
    [
        ("video/mp4", "video/mp4", "inline"),
        ("image/png", "image/png", "inline"),
        ("audio/ogg", "audio/ogg", "inline"),
        ("application/pdf", "application/pdf", "attachment"),
        ("text/plain", "application/octet-stream", "attachment"),
        ("application/xml", "application/octet-stream", "attachment"),
        ("image/svg+xml", "application/octet-stream", "attachment"),
        ("text/html", "application/octet-stream", "attachment"),
    ],
)
def test_nothing_a_stranger_sent_runs_in_the_agents_page(
    team: Team, mime: str, sent_as: str, disposition: str
) -> None:
    answer = APIClient().get(link(kept(team, HTML, mime)))
    assert answer["Content-Type"] == sent_as
    assert answer["Content-Disposition"].startswith(disposition)
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert answer["Cache-Control"].startswith("private, max-age=")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("r.pdf", 'attachment; filename="r.pdf"'),
        ("relat\u00f3rio.pdf", "attachment; filename*=utf-8''relat%C3%B3rio.pdf"),
        ('a"; filename="evil.html', 'attachment; filename="a\\"; filename=\\"evil.html"'),
        ("", 'attachment; filename="document.pdf"'),
    ],
)
def test_names_travel_as_rfc_6266_says(team: Team, name: str, header: str) -> None:
    row = kept(team, PDF, "application/pdf", "document", file_name=name)
    assert APIClient().get(link(row))["Content-Disposition"] == header


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status", "first", "end"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=100-", 206, 100, len(DATA)),
        ("bytes=-10", 206, len(DATA) - 10, len(DATA)),
        ("bytes=0-999999", 206, 0, len(DATA)),
        ("bytes=-999999", 206, 0, len(DATA)),
        ("bytes=9-5", 200, 0, len(DATA)),
        ("bytes=a-b", 200, 0, len(DATA)),
        ("bytes=0-1,5-6", 200, 0, len(DATA)),
        ("items=0-1", 200, 0, len(DATA)),
        ("bytes=-", 200, 0, len(DATA)),
    ],
)
def test_a_range_is_given_as_asked(team: Team, header: str, status: int, first: int, end: int) -> None:
    answer = APIClient().get(link(kept(team)), headers={"Range": header})
    assert answer.status_code == status
    assert body(answer) == DATA[first:end]
    assert answer["Content-Length"] == str(end - first)
    assert answer["Accept-Ranges"] == "bytes"
    if status == 206:
        assert answer["Content-Range"] == f"bytes {first}-{end - 1}/{len(DATA)}"


@pytest.mark.parametrize("header", [f"bytes={len(DATA)}-", "bytes=999999-9999999", "bytes=-0"])
def test_a_range_outside_the_file_is_said_so(team: Team, header: str) -> None:
    answer = APIClient().get(link(kept(team)), headers={"Range": header})
    assert answer.status_code == 416
    assert answer["Content-Range"] == f"bytes */{len(DATA)}"


def test_what_a_browser_has_already_is_not_sent_again(team: Team) -> None:
    url = link(kept(team))
    etag = APIClient().get(url)["ETag"]
    assert APIClient().get(url, headers={"If-None-Match": etag}).status_code == 304
    half = APIClient().get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert half.status_code == 200


def test_a_storage_that_is_away_is_said_so(team: Team) -> None:
    row = kept(team, file="media/nowhere")
    answer = APIClient().get(link(row))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_away")


# --- asking again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_what_did_not_come_may_be_asked_for_again(
    team: Team, told: list[dict[str, Any]], status: str
) -> None:
    row = kept(team, status=status, reason="media_gone", tries=8)
    answer = team.post(f"attachments/{row.pk}/download-again/")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["reason"]) == ("pending", "")
    row.refresh_from_db()
    assert row.tries == 0
    assert [event["attachment"]["status"] for event in told] == ["pending"]


@pytest.mark.parametrize("status", ["pending", "processing", "completed"])
def test_what_is_here_or_on_its_way_is_not_asked_for_again(team: Team, status: str) -> None:
    row = kept(team, status=status)
    assert team.post(f"attachments/{row.pk}/download-again/").status_code == 409


def test_an_upload_of_ours_cannot_be_downloaded_again(team: Team) -> None:
    row = kept(team, status="failed", source=None)
    assert team.post(f"attachments/{row.pk}/download-again/").status_code == 409


# --- health ---------------------------------------------------------------------------------------


def test_queue_status_counts_files_on_their_way(team: Team) -> None:
    kept(team, status="pending")
    answer = team.get("reactions/queues/status/").json()
    assert answer["media_metrics"]["waiting"] == 1
    assert answer["media_metrics"]["queue"] is None
    assert json.dumps(answer).count("the-evolution-key") == 0


def test_a_broker_that_is_away_is_an_alert_and_not_ready(team: Team, settings: Any) -> None:
    settings.RABBITMQ_URL = "amqp://user:hidden@127.0.0.1:1/"
    answer = team.get("reactions/queues/status/")
    assert "rabbitmq_away" in [alert["code"] for alert in answer.json()["alerts"]]
    ready = APIClient().get("/readyz")
    assert (ready.status_code, ready.json()["rabbitmq"]) == (503, "missing")
    assert "hidden" not in answer.content.decode() + ready.content.decode()
