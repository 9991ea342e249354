"""How long things take in a drill: short enough to repeat often, long enough that nothing decides by accident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Times:
    """The settings of one pace, and what the scenarios derive from them (seconds)."""

    name: str
    lease: float
    http: float
    fence: float
    settle: float
    heartbeat: float
    dead: float
    block: float
    reclaim: float
    sweep_after: float
    retry_base: float
    patience: float = field(default=60.0)
    """How long a drill waits for the last message at most."""

    @property
    def env(self) -> dict[str, str]:
        """As environment variables."""
        return {
            "CHAT_SEND_LEASE_SECONDS": f"{self.lease:g}",
            "CHAT_SEND_TIMEOUT_SECONDS": f"{self.http:g}",
            "CHAT_SEND_FENCE_SECONDS": f"{self.fence:g}",
            "CHAT_SEND_SETTLE_SECONDS": f"{self.settle:g}",
            "CHAT_HEARTBEAT_SECONDS": f"{self.heartbeat:g}",
            "CHAT_HEARTBEAT_DEAD_SECONDS": f"{self.dead:g}",
            "CHAT_STREAM_BLOCK_TIMEOUT_MS": f"{self.block * 1000:.0f}",
            "CHAT_STREAM_RECLAIM_IDLE_MS": f"{self.reclaim * 1000:.0f}",
            "CHAT_SWEEP_AFTER_SECONDS": f"{self.sweep_after:g}",
            "CHAT_RETRY_BASE_SECONDS": f"{self.retry_base:g}",
        }


SHORT: Final = Times(
    name="short",
    lease=8,
    http=5,
    fence=3,
    settle=9,
    heartbeat=1,
    dead=4,
    block=1,
    reclaim=4,
    sweep_after=3,
    retry_base=0.3,
    patience=90,
)
# Those of a deployment that sets none of them.
REAL: Final = Times(
    name="real",
    lease=120,
    http=90,
    fence=10,
    settle=95,
    heartbeat=3,
    dead=10,
    block=5,
    reclaim=60,
    sweep_after=15,
    retry_base=2,
    patience=600,
)
PACES: Final[Mapping[str, Times]] = {times.name: times for times in (SHORT, REAL)}
