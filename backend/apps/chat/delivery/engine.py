"""The delivery parts of one process, put together: start them, feed them lanes, drain them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings

from apps.chat.delivery import announce, dead_letters, effects, failpoints, gate, policy, sender, sweeper
from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.cold import ColdContacts
from apps.chat.delivery.judge import Judge
from apps.chat.delivery.lane import OWN_SENDS, Busy, Final, Finalized, Step
from apps.chat.delivery.media_circuit import MediaCircuit
from apps.chat.delivery.pacing import Pacer
from apps.chat.delivery.presence import Presence, process_name
from apps.chat.delivery.resolver import Resolver
from apps.chat.delivery.runner import BUSY_SECONDS, LaneRunner
from apps.chat.delivery.slots import Slots, instance_of
from apps.chat.delivery.wake import WakeUps
from apps.chat.delivery.watchdog import Watchdog
from apps.chat.evolution.client import EvolutionClient, SendCancelled, Timeouts
from apps.chat.evolution.outcomes import Outcome
from apps.chat.models import Delivery
from apps.chat.redis_streams import WakeUp

State = Delivery.State
logger = logging.getLogger(__name__)
_running: WeakKeyDictionary[asyncio.AbstractEventLoop, Engine] = WeakKeyDictionary()


class Engine:
    """One per process and event loop.

    Use as an async context manager: entering registers the worker and starts heartbeat, sweeper and resolver; leaving
    drains them. Runners are made by whoever reads a queue (`new_runner`).
    """

    def __init__(self, name: str | None = None) -> None:
        self.presence = Presence(name or process_name())
        self.pacer = Pacer()
        self._stop = asyncio.Event()
        self._runners: list[LaneRunner] = []
        self._background: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def current_or_new(cls) -> AsyncIterator[Engine]:
        """The running engine of this event loop, or one that lives as long as the block."""
        running = _running.get(asyncio.get_running_loop())
        if running is not None:
            yield running
            return
        async with cls() as engine:
            yield engine

    @classmethod
    def nudge(cls, wake_up: WakeUp) -> bool:
        """Let an engine of this process look at a lane at once, from any thread; False when there is none.

        The engine writes the wake-up to the stream, too, a moment later: it may have no room, or no time to live.
        """
        for loop, engine in list(_running.items()):
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(engine._nudged, wake_up)
                return True
        return False

    def _nudged(self, wake_up: WakeUp) -> None:
        """In the loop: only there may the runners be asked for room."""
        if wake_up.conversation_id is not None and wake_up.instance_id is not None and self._room() > 0:
            self.add_lane(wake_up.conversation_id, wake_up.instance_id)
        self._wake_ups.put(wake_up)

    async def __aenter__(self) -> Self:
        self.database = DatabaseThread(lambda: self.presence.id)
        self._slots = Slots(self.database)
        self._wake_ups = WakeUps(self.database)
        self._cold = ColdContacts(self.database)
        self._media = MediaCircuit()
        await self._patiently("register", self.presence.register)
        read = settings.CHAT_SEND_TIMEOUT_SECONDS
        total = (read + settings.CHAT_SEND_LEASE_SECONDS) / 2
        self.client = EvolutionClient(
            timeouts=Timeouts(read=read, send_total=total), transport=settings.CHAT_HTTP_TRANSPORT
        )
        self._judge = Judge(self.database, self.client)
        self._watchdog = Watchdog(self.database, self.client)
        self.resolver = Resolver(self.database, self.client, lambda: self.presence.id, self.add_lane)
        sweep = sweeper.Sweeper(self.database, self.client, self.resolver, self._room, self.add_lane)
        self._background = [
            asyncio.create_task(self._heartbeat(), name="heartbeat"),
            asyncio.create_task(sweeper.run(sweep, self._stop), name="sweeper"),
            asyncio.create_task(dead_letters.keep_agreeing(self._stop), name="dead letters"),
            asyncio.create_task(self._watchdog.run(self._stop), name="watchdog"),
        ]
        _running.setdefault(asyncio.get_running_loop(), self)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.drain(settings.CHAT_DRAIN_SECONDS)

    async def _patiently(self, what: str, work: Callable[[], None]) -> None:
        for pause in (0.5, 1.0, 2.0, 4.0, 8.0):
            try:
                await self.database.call(work)
            except Exception as failure:  # a database that is still starting
                logger.warning(
                    "waiting for the database", extra={"for": what, "error": type(failure).__name__}
                )
                await asyncio.sleep(pause)
            else:
                return
        await self.database.call(work)

    async def drain(self, grace: float) -> None:
        """Take nothing more, finish what is in flight within `grace` seconds, record the rest as what it is."""
        self._stop.set()
        if _running.get(asyncio.get_running_loop()) is self:
            del _running[asyncio.get_running_loop()]
        await self._wake_ups.stop()
        clean = await asyncio.gather(*(runner.stop(grace) for runner in self._runners))
        await self.resolver.stop(min(grace, 2.0))
        await asyncio.gather(*self._background)
        await asyncio.gather(self.client.aclose(), self.pacer.stop(), self._slots.stop())
        try:
            await self.database.call(self.presence.leave)
        except Exception as failure:  # the database is away: the heartbeat's age says the same, later
            logger.warning("could not say goodbye", extra={"error": type(failure).__name__})
        self.database.stop()
        logger.info("delivery stopped", extra={"worker": self.presence.name, "clean": all(clean)})

    async def _heartbeat(self) -> None:
        while not self._stop.is_set():
            try:
                await self.database.call(self.presence.beat)
            except Exception as failure:  # the loop must live: `alive` tells the sender
                logger.warning("heartbeat failed", extra={"error": type(failure).__name__})
            try:
                await asyncio.wait_for(self._stop.wait(), settings.CHAT_HEARTBEAT_SECONDS)
            except TimeoutError:
                continue

    # --- lanes ------------------------------------------------------------------------------------

    def new_runner(self, done: Callable[[list[str]], None]) -> LaneRunner:
        """A runner whose tokens are given back through `done`."""
        runner = LaneRunner(
            step=self.database.step,
            deliver=self.deliver,
            done=done,
            concurrency=settings.CHAT_SEND_CONCURRENCY,
            pacer=self.pacer if self.pacer.on else None,
            put_off=self._slots.put_off,
        )
        self._runners.append(runner)
        return runner

    def _room(self) -> int:
        return max((runner.room for runner in self._runners), default=0)

    def add_lane(self, conversation_id: UUID, instance_id: UUID) -> None:
        """Give a lane to the runner with the most room; without runners it stays due."""
        if self._runners:
            max(self._runners, key=lambda runner: runner.room).add(conversation_id, instance_id)

    async def work(self, conversation_id: UUID) -> None:
        """Work one lane, here and now, until it has nothing to give."""
        instance_id = await self.database.call(lambda: instance_of(conversation_id))
        while await self._permitted(instance_id):
            began = time.monotonic()
            step = await self.database.step(conversation_id)
            if step is None or isinstance(step, Busy):
                self.pacer.give_back(instance_id, 1)
            if step is None:
                return
            if isinstance(step, Busy):
                await asyncio.sleep(BUSY_SECONDS)
            else:
                await self.deliver(step, began)

    async def _permitted(self, instance_id: UUID | None) -> bool:
        """Wait for the instance's turn; False when we stop before it comes."""
        while not self._stop.is_set():
            grant = await self.pacer.take(instance_id, 1)
            if grant.permits:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), grant.wait)
        return False

    async def deliver(self, step: Step, began: float) -> None:
        """One stepped row: send it and record what came of it."""
        failpoints.hit("step")
        announce.sending(step)
        try:
            refused = await self._cold.refusal(step) or self._media.refusal(step)
            outcome = refused or await self._send(step, began)
        except SendCancelled as cancelled:
            await asyncio.shield(self._conclude(step, cancelled.outcome, began))
            raise
        failpoints.hit("answer")
        await self._conclude(step, outcome, began)

    async def _send(self, step: Step, began: float) -> Outcome:
        return await sender.send(self.client, step, sender.SelfFence(began, self.presence))

    async def _conclude(self, step: Step, outcome: Outcome, began: float) -> None:
        outcome = await self._judge.judge(step, outcome, began)
        await self._tell_gate(step, outcome)
        await self._cold.ended(step, outcome)
        self._media.ended(step, outcome)
        final = policy.decide(step, outcome)
        row = await self._record(final, began)
        failpoints.hit("finalize")
        announce.finalized(step, final, row)
        if row is not None and final.prov:
            self._watchdog.accepted(step)
        if row is not None and step.kind not in OWN_SENDS:
            await self._take_effect(step, row, final.reason)
        await dead_letters.follow_soon(self.database, row)
        if row is not None and row.told_more:
            await self.database.call(lambda: announce.message_changed(step.message_id))
        logger.info(
            "attempt ended",
            extra={
                "delivery": step.id,
                "attempt": step.attempts,
                "verdict": outcome.verdict.value,
                "reason": outcome.reason,
                "ms": round((time.monotonic() - began) * 1000),
                "recorded": row is not None,
            },
        )

    async def _take_effect(self, step: Step, row: Finalized, reason: str) -> None:
        if row.state == State.SENT:
            await self.database.call(lambda: effects.apply(step))
        elif row.state == State.FAILED:
            await self.database.call(lambda: effects.gave_up(step, reason))

    async def _tell_gate(self, step: Step, outcome: Outcome) -> None:
        try:
            if outcome.throttle:
                await self._throttle(step, outcome)
            elif policy.parks(outcome) or await self._judge.parks(step, outcome):
                await self.database.call(lambda: gate.park(step.instance_id, outcome.reason, outcome.wait))
            elif outcome.provider_id and step.parks:
                await self.database.call(lambda: gate.proved(step.instance_id))
        except Exception as failure:  # the gate is advice; the outcome must be recorded whatever it says
            logger.warning("gate not told", extra={"error": type(failure).__name__})

    async def _throttle(self, step: Step, outcome: Outcome) -> None:
        slower = await self.database.call(lambda: gate.throttle(step.instance_id, outcome.wait or 0.0))
        if slower is not None and self.pacer.on:
            await self.pacer.slow_down(step.instance_id, slower.factor, slower.seconds)

    async def _record(self, final: Final, began: float) -> Finalized | None:
        """Finalize, patiently: an outcome that cannot be written within the lease is found again by evidence."""
        pause = 0.1
        while True:
            try:
                return await self.database.finalize(final)
            except Exception as failure:  # the database is away
                if time.monotonic() - began > settings.CHAT_SEND_LEASE_SECONDS:
                    logger.error("an outcome could not be recorded", extra={"delivery": final.id})  # noqa: TRY400
                    return None
                logger.warning("recording an outcome again", extra={"error": type(failure).__name__})
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
