"""`reactions/add/` and `reactions/remove/`: one emoji of ours per message, shown at once, sent in the lane's order."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.chat.delivery import effects, evidence, policy
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Delivery, Message, MessageReaction
from apps.chat.tests.api.world import Team
from apps.chat.tests.factories import accepted, echo, not_sent, stepped, unclear, write

State = Delivery.State
LIKE, LOVE = "\U0001f44d", "\u2764\ufe0f"


def add(team: Team, message: Message | UUID, emoji: str = LIKE) -> Any:
    pk = message.pk if isinstance(message, Message) else message
    return team.post("reactions/add/", {"message": str(pk), "emoji": emoji})


def remove(team: Team, message: Message) -> Any:
    return team.post("reactions/remove/", {"message": str(message.pk)})


def ours(message: Message) -> str:
    row = MessageReaction.objects.filter(message=message, author="").first()
    return row.emoji if row else ""


def reactions() -> list[tuple[str, int]]:
    rows = Delivery.objects.filter(kind=Delivery.Kind.REACTION).order_by("seq")
    return [((row.payload or {})["emoji"], row.state) for row in rows]


def test_a_reaction_shows_at_once_and_waits_in_the_lane(team: Team) -> None:
    asked = team.incoming("Que horas?")
    team.say("Um momento")

    response = add(team, asked)

    assert response.status_code == 201, response.content
    (shown,) = response.json()["reactions"]
    assert (shown["emoji"], shown["author"], shown["user"]["name"]) == (LIKE, "", "Ana")
    assert team.get(f"messages/{asked.pk}/").json()["reactions"] == [shown]
    delivery = Delivery.objects.get(kind=Delivery.Kind.REACTION)
    assert (delivery.seq, delivery.state, delivery.message_id) == (2, State.QUEUED, asked.pk)


def test_the_same_emoji_again_sends_nothing(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)

    assert add(team, asked).status_code == 200
    assert len(reactions()) == 1


def test_a_newer_reaction_takes_the_place_of_one_that_has_not_left(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)

    response = add(team, asked, LOVE)

    assert [row["emoji"] for row in response.json()["reactions"]] == [LOVE]
    assert reactions() == [(LIKE, State.CANCELLED), (LOVE, State.QUEUED)]


def test_one_on_its_way_is_followed_by_the_newer_one(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)
    stepped(team.conversation)

    add(team, asked, LOVE)

    assert reactions() == [(LIKE, State.SENDING), (LOVE, State.QUEUED)]


def test_a_reaction_is_taken_back(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)
    stepped(team.conversation)

    response = remove(team, asked)

    assert (response.status_code, response.json()["reactions"]) == (201, [])
    assert reactions()[-1] == ("", State.QUEUED)
    assert remove(team, asked).status_code == 200


def test_the_other_spelling_of_remove(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)

    response = team.client.delete("/api/chat/reactions/remove/", {"message": str(asked.pk)}, format="json")

    assert response.status_code == 201


def test_the_customers_own_reaction_stays(team: Team) -> None:
    sent = team.message()
    Message.objects.filter(pk=sent.pk).update(provider_id="3EB0AA")
    row = MessageReaction.objects.create(
        tenant=team.tenant, message=sent, author="5585990000001", emoji=LOVE, reacted_at=sent.created_at
    )

    response = add(team, sent)

    assert {one["emoji"] for one in response.json()["reactions"]} == {row.emoji, LIKE}


def _fail(team: Team, message: Message) -> None:
    """The lane's head is given up."""
    step = stepped(team.conversation)
    write(not_sent(step, State.FAILED))
    effects.gave_up(step, "body_rejected")


def test_a_reaction_that_failed_is_not_shown_any_more_and_everyone_is_told(
    team: Team, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    asked = team.incoming()
    add(team, asked)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(effects, "publish", lambda tenant_id, event: told.append(event))

    with django_capture_on_commit_callbacks(execute=True):
        _fail(team, asked)

    (event,) = told
    assert (event["type"], event["reactions"]) == ("message_reaction_update", [])
    assert (event["failed"]["emoji"], event["failed"]["reason"]) == (LIKE, "body_rejected")
    assert ours(asked) == ""
    entries = [entry["event"] for entry in team.get(f"messages/{asked.pk}/timeline/").json()["results"]]
    assert "reaction_failed" in entries


def test_what_whatsapp_has_is_shown_again_after_a_failure(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)
    step = stepped(team.conversation)
    add(team, asked, LOVE)
    write(accepted(step, "3EB0BB", message=None))

    _fail(team, asked)

    assert ours(asked) == LIKE


def test_a_failure_leaves_a_newer_reaction_alone(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)
    step = stepped(team.conversation)
    add(team, asked, LOVE)

    write(not_sent(step, State.FAILED))
    effects.gave_up(step, "body_rejected")

    assert ours(asked) == LOVE


def test_the_answers_id_is_the_reactions_and_not_the_messages(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)
    step = stepped(team.conversation)

    write(accepted(step, "3EB0CC", message=None))

    before = asked.provider_id
    asked.refresh_from_db()
    assert (asked.provider_id, asked.ack) == (before, 0)


BAD = [
    ("a word", "ok", 400),
    ("nothing", "", 400),
    ("two", LIKE + LIKE, 400),
    ("a digit", "1", 400),
    ("a space before", f" {LIKE}", 400),
    ("NUL", "\x00", 400),
    ("half a character", "\ud83d", 400),
    ("a number", 5, 400),
]


@pytest.mark.parametrize(("what", "emoji", "status"), BAD, ids=[row[0] for row in BAD])
def test_only_one_emoji_is_a_reaction(team: Team, what: str, emoji: Any, status: int) -> None:
    assert add(team, team.incoming(), emoji).status_code == status
    assert reactions() == []


@pytest.mark.parametrize(
    "emoji",
    [LOVE, "\u2764", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "1\ufe0f\u20e3"],
)
def test_an_emoji_of_several_characters_is_one(team: Team, emoji: str) -> None:
    assert add(team, team.incoming(), emoji).status_code == 201


def test_what_is_deleted_or_has_not_left_takes_no_reaction(team: Team) -> None:
    queued = team.message()
    deleted = team.incoming(deleted_at=queued.created_at)

    assert add(team, queued).status_code == 409
    assert add(team, deleted).status_code == 409
    assert remove(team, deleted).status_code == 409


def test_another_tenants_message_is_not_found(team: Team, others: Team) -> None:
    theirs = others.incoming()

    assert add(team, theirs).status_code == 404
    assert remove(team, theirs).status_code == 404
    assert reactions() == []


def test_an_echo_proves_a_reaction_and_leaves_its_message_alone(team: Team) -> None:
    asked = team.incoming()
    add(team, asked)
    step = stepped(team.conversation)
    write(unclear(step))
    delivery = Delivery.objects.select_related("instance", "conversation", "message").get(pk=step.id)
    said = {"kind": "reaction", "text": None, "emoji": LIKE, "target_id": asked.provider_id}

    bound = evidence.bind_echo(team.instance, [team.conversation.pk], echo(delivery, "3EB0DD", **said))

    assert bound is evidence.Bound.ATTEMPT
    delivery.refresh_from_db()
    assert delivery.state == State.SENT
    before = asked.provider_id
    asked.refresh_from_db()
    assert (asked.provider_id, asked.ack) == (before, 0)
    again = evidence.bind_echo(team.instance, [team.conversation.pk], echo(delivery, "3EB0DD", **said))
    assert again is evidence.Bound.ATTEMPT


def test_an_answer_that_proves_a_reaction_is_decided_so(team: Team) -> None:
    add(team, team.incoming())
    step = stepped(team.conversation)

    taken = policy.decide(step, Outcome(Verdict.ACCEPTED, "accepted", provider_id="3EB0EE"))
    unsure = policy.decide(step, Outcome(Verdict.UNCLEAR, "read_timeout"))

    assert (taken.prov, taken.message, taken.state) == ("3EB0EE", None, State.SENT)
    assert (unsure.state, unsure.closed) == (State.QUEUED, 0), "twice shows nothing twice"
