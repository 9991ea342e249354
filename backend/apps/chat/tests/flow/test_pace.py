"""The pace through real processes: two of them keep one rate, and what they put off comes back in time."""

from __future__ import annotations

import time

from testing.waiting import eventually

from apps.chat.redis_streams import get_stream_metrics
from apps.chat.tests.flow.world import CLEAN, World, spread


def test_two_workers_keep_one_pace_and_lose_no_lane(world: World) -> None:
    """Eighty lanes at ten a second: more than an instance keeps in memory, so that some are put off and come back."""
    pace = {"CHAT_PACE_RATE": "10", "CHAT_PACE_BURST": "5", "CHAT_SWEEP_AFTER_SECONDS": "60"}
    lanes = spread(world, 80)
    for lane in lanes:
        world.send(lane)
    began = time.monotonic()
    for _ in range(2):
        world.worker(**pace)
    world.settle(within=60)
    took = time.monotonic() - began
    assert took > (80 - 5) / 10 - 0.5, "faster than its pace"
    assert took < 30, "slower than its pace by far"
    assert world.verdict() == CLEAN
    eventually(lambda: get_stream_metrics()["send_message_stream"]["pending"] == 0, 10, "no pending entries")
