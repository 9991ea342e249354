"""Settings of the gate that are right one by one and wrong together are told at start-up."""

from __future__ import annotations

from typing import Any

import pytest

from apps.chat.checks import pace_and_age_make_sense


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, []),
        ({"CHAT_PACE_RATE": 0.2}, ["chat.W002"]),
        ({"CHAT_PACE_RATE": 0.2, "CHAT_PACE_BURST": 5}, []),
        ({"CHAT_PACE_RATE": 0, "CHAT_PACE_BURST": 100_000}, []),
        ({"CHAT_STALE_AFTER_SECONDS": 30}, ["chat.W003"]),
        ({"CHAT_STALE_AFTER_SECONDS": 3600}, []),
        ({"CHAT_PACE_RATE": 0, "CHAT_COLD_CONTACT_DAILY_CAP": 50}, ["chat.W004"]),
        ({"CHAT_COLD_CONTACT_DAILY_CAP": 50}, []),
    ],
)
def test_a_wrong_combination_is_told(settings: Any, values: dict[str, float], told: list[str]) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    found = list(pace_and_age_make_sense(None))
    assert [warning.id for warning in found] == told
    assert all(warning.hint for warning in found)
