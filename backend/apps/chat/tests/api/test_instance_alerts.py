"""Alerts about numbers in the queue status: one's own, and none when all is well."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from apps.chat.models import Instance
from apps.chat.tests.api.world import Team


def alerts(team: Team) -> list[dict[str, Any]]:
    shown = team.get("reactions/queues/status/").json()["alerts"]
    return [alert for alert in shown if alert["queue"] == "instances"]


def test_no_trouble_no_alert(team: Team) -> None:
    assert alerts(team) == []


@pytest.mark.parametrize(
    ("reason", "level"), [("mute", "error"), ("logged_out", "warning"), ("disconnected", "warning")]
)
def test_a_closed_gate_is_told_to_its_team_only(team: Team, others: Team, reason: str, level: str) -> None:
    Instance.objects.filter(pk=team.instance.pk).update(gate=Instance.Gate.PARKED, gate_reason=reason)
    (alert,) = alerts(team)
    assert (alert["code"], alert["level"]) == (f"instance_{reason}", level)
    assert alert["instance"] == {"id": str(team.instance.pk), "name": team.instance.name}
    assert alerts(others) == []


def test_waiting_because_whatsapp_asked_to_is_no_alert(team: Team) -> None:
    Instance.objects.filter(pk=team.instance.pk).update(gate=Instance.Gate.PARKED, gate_reason="rate_limited")
    assert alerts(team) == []


def test_receipts_that_fail_are_told(team: Team) -> None:
    Instance.objects.filter(pk=team.instance.pk).update(
        receipt_failed_at=timezone.now(), receipt_reason="read_timeout"
    )
    (alert,) = alerts(team)
    assert alert["code"] == "receipts_fail"
    assert "read_timeout" in alert["message"]
