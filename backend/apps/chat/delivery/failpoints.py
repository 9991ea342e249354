"""Named places where a test may stop a process: CHAT_FAIL_AT=<step>:exit or <step>:sleep[=seconds].

Steps of a send, in order: read, step, bytes_out, answer, finalize, ack. `exit` is as hard as kill -9.
Steps of a file: media_half (part of it written), media_fetched (all of it), media_stored (kept, the row not told).
"""

from __future__ import annotations

import logging
import os
import time

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

STEPS = (
    "read",
    "step",
    "bytes_out",
    "answer",
    "finalize",
    "ack",
    "media_half",
    "media_fetched",
    "media_stored",
)
logger = logging.getLogger(__name__)


def _parse(text: str) -> tuple[str, str, float]:
    step, _, action = text.partition(":")
    verb, _, seconds = action.partition("=")
    if step not in STEPS or verb not in ("exit", "sleep"):
        raise ImproperlyConfigured(f"CHAT_FAIL_AT must be <{'|'.join(STEPS)}>:exit or :sleep=<seconds>.")
    return step, verb, float(seconds or 30)


def hit(step: str) -> None:
    """Fail here if CHAT_FAIL_AT names this step; a sleep blocks the whole event loop, as a stuck process would."""
    if not settings.CHAT_FAIL_AT:
        return
    wanted, verb, seconds = _parse(settings.CHAT_FAIL_AT)
    if wanted != step:
        return
    logger.warning("fail point reached", extra={"step": step, "action": verb})
    if verb == "exit":
        os._exit(70)
    time.sleep(seconds)
