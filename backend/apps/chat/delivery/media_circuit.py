"""E14: WhatsApp takes no files from an instance for a while, though texts go out. Files wait, and nothing else does.

Three refusals of that kind in a row open the circuit: files are put off without a try being burnt. When the pause is
over one of them goes as a probe; taken, it closes the circuit, refused, the pause doubles. Lanes keep their order, so
what stands behind a file in its conversation waits with it. Known to one process at a time: each learns by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final as Constant
from uuid import UUID

from apps.chat.delivery.lane import Step
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Delivery

logger = logging.getLogger(__name__)

REASON: Constant = "media_circuit"
OPENED_BY: Constant = "media_upload_failed"
IN_A_ROW: Constant = 3
FIRST_PAUSE_SECONDS: Constant = 30.0
LONGEST_PAUSE_SECONDS: Constant = 300.0
PROBE_SECONDS: Constant = 110.0


@dataclass(slots=True)
class _State:
    failures: int = 0
    pause: float = 0.0
    shut_until: float = 0.0


class MediaCircuit:
    """Asked before a file is sent, told after it; one per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[UUID, _State] = {}

    def refusal(self, step: Step) -> Outcome | None:
        """Why this file must wait; None when it may go, perhaps as the probe while the others wait on."""
        state = self._states.get(step.instance_id)
        if step.kind != Delivery.Kind.MEDIA or state is None or state.failures < IN_A_ROW:
            return None
        now = self._clock()
        if now < state.shut_until:
            return Outcome(Verdict.NOT_SENT, REASON, wait=state.shut_until - now)
        state.shut_until = now + PROBE_SECONDS  # until its end is known
        return None

    def ended(self, step: Step, outcome: Outcome) -> None:
        """Learn from how a file's send ended. What was put off tells nothing."""
        if step.kind != Delivery.Kind.MEDIA or outcome.reason == REASON:
            return
        state = self._states.get(step.instance_id)
        if outcome.reason == OPENED_BY:
            self._failed(step.instance_id, state or self._states.setdefault(step.instance_id, _State()))
        elif state is not None and outcome.verdict is Verdict.ACCEPTED:
            del self._states[step.instance_id]
            if state.failures >= IN_A_ROW:
                logger.info("files go out again", extra={"instance": str(step.instance_id)})
        elif state is not None and state.failures >= IN_A_ROW:
            state.shut_until = self._clock()  # the probe showed nothing: the next file is one

    def _failed(self, instance_id: UUID, state: _State) -> None:
        state.failures += 1
        if state.failures < IN_A_ROW:
            return
        state.pause = min(max(state.pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        state.shut_until = self._clock() + state.pause
        if state.failures == IN_A_ROW:
            logger.warning("WhatsApp takes no files: they wait", extra={"instance": str(instance_id)})
