"""System checks: what would hurt in production is said at start-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

_MOST_BURST_SECONDS = 600
_LEAST_STALE_SECONDS = 300


@register()
def lease_outlives_http(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """A step must own its row for longer than its HTTP call can take."""
    if settings.CHAT_SEND_SETTLE_SECONDS >= settings.CHAT_SEND_FENCE_SECONDS + 60:
        return []
    return [
        Warning(
            "CHAT_SEND_SETTLE_SECONDS is shorter than the time Evolution may still accept a message in.",
            hint="Keep it at CHAT_SEND_FENCE_SECONDS + 85 or more, unless this is a test.",
            id="chat.W001",
        )
    ]


@register()
def pace_and_age_make_sense(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """Settings of the gate that are right one by one and wrong together."""
    return [warning for applies, warning in _doubts() if applies]


def _doubts() -> list[tuple[bool, Warning]]:
    rate, stale = settings.CHAT_PACE_RATE, settings.CHAT_STALE_AFTER_SECONDS
    return [
        (
            0 < rate * _MOST_BURST_SECONDS < settings.CHAT_PACE_BURST,
            Warning(
                "CHAT_PACE_BURST lets more than ten minutes' worth of messages out at once: the rate hardly counts.",
                hint="With a low CHAT_PACE_RATE set CHAT_PACE_BURST to a few messages.",
                id="chat.W002",
            ),
        ),
        (
            0 < stale < _LEAST_STALE_SECONDS,
            Warning(
                "CHAT_STALE_AFTER_SECONDS is so short that each brief disconnection holds messages for a person.",
                hint="Keep it at 300 or more, or at 0 for never, unless this is a test.",
                id="chat.W003",
            ),
        ),
        (
            rate == 0 and settings.CHAT_COLD_CONTACT_DAILY_CAP > 0,
            Warning(
                "CHAT_COLD_CONTACT_DAILY_CAP is set without a pace: the day's messages to strangers leave in seconds.",
                hint="Set CHAT_PACE_RATE as well.",
                id="chat.W004",
            ),
        ),
    ]
