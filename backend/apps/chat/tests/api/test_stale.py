"""`instances/{id}/release-stale/`: decide about all that grew too old while a number was away."""

from __future__ import annotations

import pytest

from apps.chat.models import Delivery
from apps.chat.tests.api.world import Team, set_state

State = Delivery.State


def _stale(team: Team, count: int) -> list[str]:
    messages = [team.message(f"old {n}") for n in range(count)]
    for message in messages:
        set_state(message.pk, State.HELD, reason="stale")
    return [str(message.pk) for message in messages]


def _release(team: Team, action: object) -> tuple[int, dict[str, object]]:
    response = team.post(f"instances/{team.instance.pk}/release-stale/", {"action": action})
    return response.status_code, response.json()


@pytest.mark.parametrize(("action", "status"), [("send", "queued"), ("discard", "cancelled")])
def test_all_are_sent_or_discarded(team: Team, action: str, status: str) -> None:
    ids = _stale(team, 3)
    assert team.get(f"instances/{team.instance.pk}/").json()["stale"] == 3

    assert _release(team, action) == (200, {"action": action, "count": 3})

    assert {team.get(f"messages/{pk}/").json()["status"] for pk in ids} == {status}
    assert team.get(f"instances/{team.instance.pk}/").json()["stale"] == 0
    assert _release(team, action) == (200, {"action": action, "count": 0})


def test_a_held_one_says_why_and_is_released_alone(team: Team) -> None:
    first, second = _stale(team, 2)
    shown = team.get(f"messages/{first}/").json()
    assert (shown["status"], shown["reason"]) == ("held", "stale")
    assert shown["reason_text"]["pt"]

    assert team.post(f"messages/{first}/release/", {"action": "send"}).json()["status"] == "queued"
    assert team.get(f"messages/{second}/").json()["status"] == "held"


@pytest.mark.parametrize("action", ["", "later", None])
def test_another_action_is_refused(team: Team, action: object) -> None:
    _stale(team, 1)
    assert _release(team, action)[0] == 400
    assert Delivery.objects.filter(state=State.HELD).count() == 1


def test_another_team_s_instance_is_not_found(team: Team, others: Team) -> None:
    _stale(team, 1)
    response = others.post(f"instances/{team.instance.pk}/release-stale/", {"action": "discard"})
    assert response.status_code == 404
    assert Delivery.objects.filter(state=State.HELD).count() == 1
