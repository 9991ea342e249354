"""`refresh-info/`, a contact's picture, and what the status page says of the lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from apps.chat import redis_queue
from apps.chat.media import store
from apps.chat.models import Contact, Conversation
from apps.chat.redis_clients import sync_client
from apps.chat.tests.api.world import PASSWORD, Team

PNG = b"\x89PNG\r\n\x1a\n" + b"not much of a picture"


@pytest.fixture(autouse=True)
def no_outage() -> Iterator[None]:
    redis_queue.outage._since = None
    yield
    redis_queue.outage._since = None


def refresh(team: Team, who: Team | None = None) -> Any:
    return (who or team).post(f"conversations/{team.conversation.pk}/refresh-info/")


def picture_path(team: Team) -> str:
    return f"contacts/{team.conversation.contact_id}/picture/"


@pytest.fixture
def pictured(team: Team) -> Team:
    kept = store.keep(team.tenant.pk, [PNG], 1000)
    values = {"picture": kept.name, "picture_type": "image/png", "picture_sha256": kept.sha256}
    Contact.objects.filter(pk=team.conversation.contact_id).update(**values)
    return team


# --- asking ---------------------------------------------------------------------------------------


def test_it_asks_and_says_what(team: Team) -> None:
    answer = refresh(team)
    assert answer.status_code == 202
    assert answer.json() == {
        "conversation": str(team.conversation.pk),
        "queued": ["profile_pic", "contact_name"],
        "asked": [],
        "refused": [],
    }
    again = refresh(team).json()
    assert (again["queued"], again["asked"]) == ([], ["profile_pic", "contact_name"])


def test_a_group_is_asked_for_its_card(team: Team) -> None:
    Contact.objects.update(kind=Contact.Kind.GROUP)
    assert refresh(team).json()["queued"] == ["group_info"]


def test_a_full_list_is_said(team: Team, settings: Any) -> None:
    settings.CHAT_LIST_MAXLEN = 1
    redis_queue.enqueue_message(redis_queue.REDIS_QUEUE_FETCH_PROFILE_PIC, {})
    answer = refresh(team).json()
    assert (answer["refused"], answer["queued"]) == (["profile_pic"], ["contact_name"])


def test_redis_away_is_said(team: Team, settings: Any) -> None:
    settings.CHAT_QUEUE_REDIS_URL = "redis://127.0.0.1:1/2"
    answer = refresh(team)
    assert answer.status_code == 503 and answer.json()["code"] == "queue_away"
    assert "Try again" in answer.json()["detail"]


def test_others_and_strangers_cannot_ask(team: Team, others: Team) -> None:
    assert refresh(team, others).status_code == 404
    path = f"/api/chat/conversations/{team.conversation.pk}/refresh-info/"
    assert APIClient().post(path, {}, format="json").status_code == 401
    metrics = redis_queue.get_list_metrics()
    assert metrics["total"] == 0


# --- the picture ----------------------------------------------------------------------------------


def test_a_conversation_tells_where_its_picture_is(team: Team, pictured: Team) -> None:
    shown = team.get(f"conversations/{team.conversation.pk}/").json()["contact"]
    assert shown["picture_url"].startswith(f"/api/chat/{picture_path(team)}?v=")
    answer = team.client.get(shown["picture_url"])
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, PNG, "image/png")


def test_without_a_picture(team: Team) -> None:
    shown = team.get(f"conversations/{team.conversation.pk}/").json()["contact"]
    assert (shown["picture_url"], shown["description"], shown["members"]) == (None, "", None)
    assert team.get(picture_path(team)).status_code == 404


def test_it_is_for_its_tenant_alone(pictured: Team, others: Team) -> None:
    assert others.get(picture_path(pictured)).status_code == 404
    answer = APIClient().get(f"/api/chat/{picture_path(pictured)}")
    assert answer.status_code == 401 and PNG not in answer.content


def test_the_session_of_the_pages_opens_it(pictured: Team) -> None:
    client = APIClient()
    assert client.login(username=pictured.user.email, password=PASSWORD)
    assert client.get(f"/api/chat/{picture_path(pictured)}").content == PNG


def test_no_browser_runs_or_shares_it(pictured: Team) -> None:
    answer = pictured.get(picture_path(pictured))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"].startswith("private")
    assert "sandbox" in answer["Content-Security-Policy"]
    assert {"Cookie", "Authorization"} <= {part.strip() for part in answer["Vary"].split(",")}


def test_who_has_it_is_told_so(pictured: Team) -> None:
    tag = pictured.get(picture_path(pictured))["ETag"]
    again = pictured.client.get(f"/api/chat/{picture_path(pictured)}", HTTP_IF_NONE_MATCH=tag)
    assert (again.status_code, again.content) == (304, b"")


def test_a_file_that_is_gone_is_no_defect(pictured: Team) -> None:
    Contact.objects.update(picture="media/nothing/here")
    answer = pictured.get(picture_path(pictured))
    assert answer.status_code == 503 and answer.json()["code"] == "storage_away"


# --- the lists, for operators ---------------------------------------------------------------------

LETTER = {
    "id": "list-0123456789ab",
    "queue": "chat:queue:fetch_profile_pic",
    "reason": "picture_timeout",
    "tries": 5,
}


def bury(settings: Any, **values: Any) -> None:
    sync_client(settings.CHAT_QUEUE_REDIS_URL).lpush(
        redis_queue.REDIS_QUEUE_DEAD, json.dumps({**LETTER, **values})
    )


def status(team: Team) -> Any:
    return team.get("reactions/queues/status/").json()


def test_the_status_shows_the_lists(team: Team, settings: Any) -> None:
    refresh(team)
    metrics = status(team)["metrics"]
    assert metrics["fetch_profile_pic"] == {
        "name": "chat:queue:fetch_profile_pic",
        "length": 1,
        "in_hand": 0,
        "later": 0,
    }
    assert metrics["dead"] == {"name": "chat:queue:dead", "length": 0}
    assert metrics["total"] == 2


def test_one_dead_item_is_an_alert(team: Team, settings: Any) -> None:
    assert not [alert for alert in status(team)["alerts"] if alert["queue"] == "dead"]
    bury(settings)
    (alert,) = [alert for alert in status(team)["alerts"] if alert["queue"] == "dead"]
    assert alert["code"] == "dead_letters" and "1 " in alert["message"]


def test_dead_items_are_among_the_dead_letters(team: Team, settings: Any) -> None:
    bury(settings, conversation_id=str(team.conversation.pk))
    bury(settings, id="list-ffffffffffff", reason="garbage")
    shown = StringIO()
    call_command("chat_dead_letters", "list", stdout=shown)
    assert LETTER["id"] in shown.getvalue() and str(team.conversation.pk) in shown.getvalue()
    call_command("chat_dead_letters", "discard", LETTER["id"], "--yes", stdout=StringIO())
    assert [item["id"] for item in redis_queue.get_dead_items()] == ["list-ffffffffffff"]
    call_command("chat_dead_letters", "discard", "--all", "--yes", stdout=StringIO())
    assert redis_queue.get_dead_items() == []


def test_lists_that_search_a_conversation_show_the_picture(pictured: Team) -> None:
    (row,) = pictured.get("conversations/").json()["results"]
    assert row["contact"]["picture_url"] and Conversation.objects.count() >= 1
