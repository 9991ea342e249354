"""`contacts/<id>/merges/`: which contacts were made one, and undoing it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from apps.chat import contact_merges
from apps.chat.models import Contact, ContactJid, ContactMerge, Conversation
from apps.chat.tests.api.world import Team

LID = "12345678@lid"
NAMED_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def merged(team: Team) -> ContactMerge:
    """Who wrote from a LID proved to be the holder of the team's phone number."""
    leaves = Contact.objects.create(tenant=team.tenant, name="Ana pelo LID", name_at=NAMED_AT)
    ContactJid.objects.create(tenant=team.tenant, contact=leaves, key=LID, jid=LID)
    with transaction.atomic():
        return contact_merges.merge(leaves, team.conversation.contact, ["+5585990000001", LID])


def merges(team: Team, contact: Any = None) -> Any:
    return team.get(f"contacts/{contact or team.conversation.contact_id}/merges/")


def undo(team: Team, record: ContactMerge, contact: Any = None) -> Any:
    return team.post(f"contacts/{contact or record.contact_id}/merges/{record.pk}/undo/")


def holder_of_the_lid() -> Contact:
    return ContactJid.objects.get(key=LID).contact


def test_a_contact_without_merges_has_none(team: Team) -> None:
    assert merges(team).json() == {"results": []}


def test_it_tells_who_was_merged_and_why(team: Team, merged: ContactMerge) -> None:
    answer = merges(team)
    assert answer.status_code == 200
    (told,) = answer.json()["results"]
    assert told["id"] == str(merged.pk)
    assert told["contact"] == str(team.conversation.contact_id)
    assert told["merged"] == {"id": merged.left["id"], "name": "Ana pelo LID", "phone": ""}
    assert told["addresses"] == [LID]
    assert told["why"] == ["+5585990000001", LID]
    assert told["at"]
    assert (told["undone_at"], told["undone_by"]) == (None, None)


def test_the_latest_merge_comes_first(team: Team, merged: ContactMerge) -> None:
    again = Contact.objects.create(tenant=team.tenant, name="Ana, outra vez")
    with transaction.atomic():
        later = contact_merges.merge(again, team.conversation.contact)
    assert [row["id"] for row in merges(team).json()["results"]] == [str(later.pk), str(merged.pk)]


def test_undoing_makes_two_of_one_and_says_who_did_it(team: Team, merged: ContactMerge) -> None:
    assert holder_of_the_lid().pk == team.conversation.contact_id
    answer = undo(team, merged)
    assert answer.status_code == 200
    told = answer.json()
    assert told["undone_at"]
    assert told["undone_by"]["id"] == str(team.user.pk)
    back = holder_of_the_lid()
    assert (str(back.pk), back.name) == (merged.left["id"], "Ana pelo LID")
    assert Conversation.objects.get(pk=team.conversation.pk).contact_id == team.conversation.contact_id
    assert merges(team).json()["results"] == [told]


def test_undoing_twice_is_a_conflict_that_says_so(team: Team, merged: ContactMerge) -> None:
    undo(team, merged)
    answer = undo(team, merged)
    assert answer.status_code == 409
    assert answer["Content-Type"].startswith("application/problem+json")
    assert "undone already" in answer.json()["detail"]


def test_a_merge_is_found_under_its_own_contact_only(team: Team, merged: ContactMerge) -> None:
    other = Contact.objects.create(tenant=team.tenant, name="Bia")
    assert merges(team, other.pk).json() == {"results": []}
    assert undo(team, merged, other.pk).status_code == 404
    assert undo(team, merged, uuid4()).status_code == 404
    assert merges(team, uuid4()).status_code == 404
    merged.refresh_from_db()
    assert merged.undone_at is None


def test_another_tenant_sees_and_undoes_nothing(team: Team, others: Team, merged: ContactMerge) -> None:
    assert merges(others, team.conversation.contact_id).status_code == 404
    assert undo(others, merged).status_code == 404
    assert undo(others, merged, others.conversation.contact_id).status_code == 404
    merged.refresh_from_db()
    assert merged.undone_at is None
    assert holder_of_the_lid().pk == team.conversation.contact_id


def test_strangers_are_asked_who_they_are(team: Team, merged: ContactMerge) -> None:
    path = f"/api/chat/contacts/{merged.contact_id}/merges/"
    assert APIClient().get(path).status_code == 401
    assert APIClient().post(f"{path}{merged.pk}/undo/", {}, format="json").status_code == 401
    merged.refresh_from_db()
    assert merged.undone_at is None
