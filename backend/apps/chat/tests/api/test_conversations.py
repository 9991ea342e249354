"""Conversations: pages, filters, and what can be done with one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.chat import tasks
from apps.chat.models import Contact, Conversation, Message
from apps.chat.tests.api.world import Team
from apps.tenancy.models import Membership, User


def _many(team: Team, count: int, *, same_time: bool = False) -> list[Conversation]:
    now = timezone.now()
    made = []
    for n in range(count):
        contact = Contact.objects.create(tenant=team.tenant, name=f"Contato {n}", phone=f"55859800{n:05}")
        at = now + timedelta(hours=1) if same_time else now + timedelta(seconds=n)
        made.append(
            Conversation.objects.create(
                tenant=team.tenant,
                instance=team.instance,
                contact=contact,
                remote_jid=f"55859800{n:05}@s.whatsapp.net",
                last_message_at=at,
            )
        )
    return made


def _walk(team: Team, path: str, **params: Any) -> list[Any]:
    pages, link = [], None
    while True:
        answer = (team.client.get(link) if link else team.get(path, **params)).json()
        pages.append(answer)
        link = answer["next"]
        if link is None:
            return pages


@pytest.mark.parametrize("same_time", [False, True])
def test_pages_hold_each_conversation_once_and_in_order(team: Team, same_time: bool) -> None:
    _many(team, 11, same_time=same_time)

    pages = _walk(team, "conversations/", limit=4)

    assert [len(page["results"]) for page in pages] == [4, 4, 4]
    rows = [row for page in pages for row in page["results"]]
    assert len({row["id"] for row in rows}) == 12
    keys = [(row["last_message_at"], row["id"]) for row in rows]
    assert keys == sorted(keys, reverse=True)


def test_previous_leads_back(team: Team) -> None:
    _many(team, 9)
    pages = _walk(team, "conversations/", limit=4)

    back = team.client.get(pages[2]["previous"]).json()
    first = team.client.get(back["previous"]).json()

    assert back["results"] == pages[1]["results"]
    assert first["results"] == pages[0]["results"]
    assert first["previous"] is None
    assert pages[0]["previous"] is None


NONSENSE = [
    {"cursor": "x"},
    {"cursor": "W10"},
    {"cursor": "WzEsMiwzXQ"},
    {"cursor": "WyIyMDI1LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgIngiLCAwXQ"},
    {"limit": "0"},
    {"limit": "x"},
    {"limit": "-1"},
    {"status": "x"},
    {"instance": "x"},
    {"assigned_to": "x"},
    {"conversation_type": "x"},
    {"search": "\x00"},
    {"unread": "maybe"},
]


@pytest.mark.parametrize("params", NONSENSE)
def test_nonsense_in_the_query_is_a_problem(team: Team, params: dict[str, str]) -> None:
    response = team.get("conversations/", **params)

    assert response.status_code == 400
    assert response.json()["code"] == "invalid"
    assert response.json()["errors"][0]["field"] == next(iter(params))


def test_filters(team: Team) -> None:
    first, second, third = _many(team, 3)
    Conversation.objects.filter(pk=first.pk).update(status="closed")
    Conversation.objects.filter(pk=second.pk).update(assigned_to=team.user, unread_count=2)
    Contact.objects.filter(pk=third.contact_id).update(kind="group", name="Família")

    def found(**params: Any) -> set[str]:
        return {row["id"] for row in team.get("conversations/", **params).json()["results"]}

    everything = {str(row.pk) for row in (first, second, third, team.conversation)}
    assert found() == everything
    assert found(status="closed") == {str(first.pk)}
    assert found(assigned_to="me") == found(assigned_to=str(team.user.pk)) == {str(second.pk)}
    assert found(assigned_to="none") == everything - {str(second.pk)}
    assert found(conversation_type="group") == {str(third.pk)}
    assert found(instance=str(team.instance.pk)) == everything
    assert found(unread="true") == {str(second.pk)}
    assert found(search="famí") == {str(third.pk)}
    assert found(search="+55 (85) 98000-0001") == {str(second.pk)}
    assert found(search="ninguém") == set()


def test_the_list_takes_one_query_beside_the_token(team: Team, django_assert_num_queries: Any) -> None:
    _many(team, 5)
    client = team.client
    with django_assert_num_queries(2):
        client.get("/api/chat/conversations/")


def test_messages_come_newest_first_or_oldest_first(team: Team) -> None:
    for n in range(5):
        team.incoming(str(n), sort_at=timezone.now() + timedelta(seconds=n))
    path = f"conversations/{team.conversation.pk}/messages/"

    newest = [row["content"] for page in _walk(team, path, limit=2) for row in page["results"]]
    oldest = [row["content"] for page in _walk(team, path, limit=2, order="asc") for row in page["results"]]

    assert newest == ["4", "3", "2", "1", "0"]
    assert oldest == newest[::-1]


def test_messages_say_what_they_wait_for(team: Team, django_assert_num_queries: Any) -> None:
    head, waiting = team.message("um"), team.message("dois")
    client = team.client

    with django_assert_num_queries(7):
        rows = client.get(f"/api/chat/conversations/{team.conversation.pk}/messages/").json()["results"]

    assert [(row["content"], row["held_by"]) for row in rows] == [("dois", str(head.pk)), ("um", None)]
    shown = team.get(f"messages/{waiting.pk}/").json()
    assert (shown["held_by"], shown["position"]) == (str(head.pk), 1)


def test_starting_finds_the_person_under_any_spelling(team: Team) -> None:
    first = team.post("conversations/start/", {"contact_phone": "+55 85 98888-7777"})
    again = [
        team.post("conversations/start/", {"contact_phone": spelling, "instance_id": str(team.instance.pk)})
        for spelling in (
            "5585988887777",
            "558588887777",
            "+55 (85) 98888 7777",
            "5585988887777@s.whatsapp.net",
        )
    ]

    assert first.status_code == 201, first.content
    assert {answer.status_code for answer in again} == {200}
    assert {answer.json()["id"] for answer in again} == {first.json()["id"]}
    assert first.json()["contact"]["phone"] == "5585988887777"
    assert first.json()["status"] == "open"


@pytest.mark.parametrize(
    "phone", ["", "abc", "123", "+", "5585", "9" * 40, "\x00", None, 5585990000001, "a@b.c", "\ud800"]
)
def test_bad_numbers_are_refused(team: Team, phone: Any) -> None:
    response = team.post("conversations/start/", {"contact_phone": phone})

    assert response.status_code == 400
    assert Conversation.objects.count() == 1


def test_starting_without_a_number_of_ones_own_is_refused(team: Team) -> None:
    Conversation.objects.all().delete()
    team.instance.delete()

    response = team.post("conversations/start/", {"contact_phone": "+5585988887777"})

    assert response.status_code == 400
    assert not Conversation.objects.exists()


def test_a_member_of_two_teams_says_which(team: Team, others: Team) -> None:
    Membership.objects.create(tenant=others.tenant, user=team.user)
    body = {"contact_phone": "+5585988887777"}

    assert team.post("conversations/start/", body).status_code == 400
    started = team.post("conversations/start/", {**body, "tenant": str(others.tenant.pk)})

    assert started.status_code == 201
    assert started.json()["instance"]["id"] == str(others.instance.pk)


def test_assigning(team: Team) -> None:
    colleague = User.objects.create_user("c@example.com", "x")
    Membership.objects.create(tenant=team.tenant, user=colleague)
    path = f"conversations/{team.conversation.pk}/assign/"

    assert team.post(path).json()["assigned_to"] == str(team.user.pk)
    assert team.post(path, {"user_id": str(colleague.pk)}).json()["assigned_to"] == str(colleague.pk)
    assert team.post(path, {"user_id": None}).json()["assigned_to"] is None


def test_closing_and_reopening(team: Team) -> None:
    assert team.post(f"conversations/{team.conversation.pk}/close/").json()["status"] == "closed"
    assert team.post(f"conversations/{team.conversation.pk}/reopen/").json()["status"] == "open"


def test_reading_marks_what_came_in_and_sends_one_receipt(
    team: Team, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks, "enqueue_mark_as_read", lambda *ids: asked.append(ids))
    now = timezone.now()
    first, second, third = (team.incoming(str(n), sort_at=now + timedelta(seconds=n)) for n in range(3))
    Conversation.objects.update(unread_count=3)
    path = f"conversations/{team.conversation.pk}/mark_as_read/"

    with django_capture_on_commit_callbacks(execute=True):
        assert team.post(path, {"message_id": str(second.pk)}).json()["unread_count"] == 1
    with django_capture_on_commit_callbacks(execute=True):
        assert team.post(path).json()["unread_count"] == 0
    with django_capture_on_commit_callbacks(execute=True):
        assert team.post(path).json()["unread_count"] == 0

    assert asked == [(team.conversation.pk, second.pk), (team.conversation.pk, third.pk)]
    assert not Message.objects.filter(pk__in=[first.pk, third.pk], read_at__isnull=True).exists()
    assert team.post(path, {"message_id": "x"}).status_code == 400


def test_reading_up_to_a_foreign_message_is_not_found(team: Team, others: Team) -> None:
    path = f"conversations/{team.conversation.pk}/mark_as_read/"

    assert team.post(path, {"message_id": str(others.incoming().pk)}).status_code == 404
