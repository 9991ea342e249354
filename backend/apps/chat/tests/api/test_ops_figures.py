"""What `instances/` tells the operations page: what waits, what is held, when a parked number is looked at next."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from apps.chat.models import Delivery, Instance
from apps.chat.realtime.shapes import stamp
from apps.chat.tests.api.world import Team, set_state

HELD = Delivery.State.HELD


def _shown(team: Team) -> dict[str, Any]:
    shown: dict[str, Any] = team.get(f"instances/{team.instance.pk}/").json()
    assert team.get("instances/").json()["results"] == [shown]
    return shown


def test_what_is_held_is_part_of_what_waits_and_what_is_stale_part_of_that(team: Team) -> None:
    assert [_shown(team)[name] for name in ("waiting", "held", "stale")] == [0, 0, 0]
    for n, reason in enumerate(["stale", "stale", "evidence_missing", ""]):
        message = team.message(f"{n}")
        if reason:
            set_state(message.pk, HELD, reason=reason)
    assert [_shown(team)[name] for name in ("waiting", "held", "stale")] == [4, 3, 2]


@pytest.mark.parametrize(("gate", "told"), [("PARKED", True), ("OPEN", False), ("FROZEN", False)])
def test_only_a_parked_number_has_a_next_look(team: Team, gate: str, told: bool) -> None:
    now = timezone.now()
    Instance.objects.filter(pk=team.instance.pk).update(
        gate=Instance.Gate[gate], probe_at=now, throttled_at=now
    )
    shown = _shown(team)
    assert shown["next_probe_at"] == (stamp(now) if told else None)
    assert shown["throttled_at"] == stamp(now)
