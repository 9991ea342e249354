"""The sweeper: finds what is due without any queue, so that losing every wake-up costs only time.

Each tick: rows of dead workers are taken over, due heads go to the runners, due verifications to the resolver, parked
instances are probed. It asks for no more than there is room for, so a backlog is worked off and not shuffled about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from django.conf import settings

from apps.chat.delivery import gate, lane
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.lane import Due
from apps.chat.delivery.resolver import Resolver
from apps.chat.evolution.client import EvolutionClient
from apps.chat.models import Delivery, Instance

logger = logging.getLogger(__name__)
State = Delivery.State
MOST_AT_ONCE = 200


class Sweeper:
    """Args:
    room: how many lanes the runners would take.
    add_lane: gives them one.
    """

    def __init__(
        self,
        database: DatabaseThread,
        client: EvolutionClient,
        resolver: Resolver,
        room: Callable[[], int],
        add_lane: Callable[[UUID, UUID], None],
    ) -> None:
        self._database, self._client, self._resolver = database, client, resolver
        self._room, self._add_lane = room, add_lane
        self._probes: set[asyncio.Task[None]] = set()

    async def tick(self) -> None:
        """One look around."""
        lost = await self._database.call(lane.take_over)
        if lost:
            logger.warning("rows taken over from dead workers", extra={"rows": len(lost)})
        while await self._sweep_once():
            pass
        for instance in await self._database.call(gate.probes_due):
            task = asyncio.create_task(self._probe(instance))
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    async def _sweep_once(self) -> bool:
        """Hand over what is due; True when there may be more and room for it."""
        limit = min(self._room(), MOST_AT_ONCE)
        if limit <= 0:
            return False
        due = await self._database.call(lambda: lane.sweep(limit))
        for row in due:
            self._hand_over(row)
        return len(due) == limit

    def _hand_over(self, row: Due) -> None:
        if row.state == State.QUEUED:
            self._add_lane(row.conversation_id, row.instance_id)
        elif row.state in (State.SENDING, State.VERIFYING) and self._resolver.room > 0:
            # With no room its alarm rings again: a full resolver must not hold up the lanes.
            self._resolver.add(row.id, row.instance_id)

    async def _probe(self, instance: Instance) -> None:
        why = await gate.probe(self._client, instance)
        if why is not None:
            await self._database.call(lambda: gate.reopen(instance.pk, why))


async def run(sweeper: Sweeper, stop: asyncio.Event) -> None:
    """Tick until told to stop; a database that is away is a pause, not an end."""
    while not stop.is_set():
        try:
            await sweeper.tick()
        except Exception as error:  # the loop must live; what is due stays due
            logger.warning("a sweep failed", extra={"error": type(error).__name__})
        try:
            await asyncio.wait_for(stop.wait(), settings.CHAT_SWEEP_INTERVAL_SECONDS)
        except TimeoutError:
            continue
