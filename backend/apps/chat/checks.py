"""System checks: what would hurt in production is said at start-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


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
