"""The parts of one simulated server, and the switches that change its habits while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

from .accept_log import AcceptLog
from .config import Range, SimulatorConfig
from .customers import Directory
from .faults import FaultBook
from .groups import Group
from .shapes import Json
from .store import Instance, Store
from .webhooks import WebhookSender

ECHO_MODES = frozenset({"random", "before", "after", "none"})


@dataclass(slots=True)
class Switches:
    """Habits of the whole server. The defaults are a healthy Evolution."""

    persist: bool = True
    """Accepted sends get a row; without one findMessages never shows them and no ack is reported."""
    acks: bool = True
    echo: str = "random"
    """`send.message` before or after the HTTP answer, or none at all."""
    stall_on_edited: bool = False
    """An edit whose webhook keeps failing holds back the instance's inbound until its retries end."""
    silence_after_logout: bool = False
    """After logout and re-pairing no messages.upsert arrives until the instance is deleted and made anew."""

    def update(self, values: Json) -> None:
        """Set switches by name. Raises ValueError for an unknown name or value."""
        if unknown := sorted(set(values) - {f.name for f in fields(self)}):
            raise ValueError(f"unknown switch: {', '.join(unknown)}")
        if values.get("echo", "random") not in ECHO_MODES:
            raise ValueError(f"echo must be one of {', '.join(sorted(ECHO_MODES))}")
        for name, value in values.items():
            setattr(self, name, value)

    def as_json(self) -> Json:
        """What the control API shows."""
        return asdict(self)


@dataclass(slots=True)
class Traffic:
    """What was asked of the server, beyond sends: for tests that count."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    reads: list[Json] = field(default_factory=list)
    """Every key markMessageAsRead was given, with whether WhatsApp got it."""


class HangUp(Exception):
    """The simulator is stopping: a request that is being held ends without an answer."""


class Simulator:
    """Everything one simulated server holds."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.rng = random.Random(config.seed)
        self.store = Store(config.keep_messages)
        self.directory = Directory()
        self.groups: dict[str, Group] = {}
        self.faults = FaultBook(random.Random(self.rng.random()))
        self.accepted = AcceptLog(config.log_path)
        self.switches = Switches()
        self.traffic = Traffic()
        self.started_at = time.time()
        self.on_webhook_set: Callable[[Instance], None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._stopping = asyncio.Event()
        self.url = url = config.server_url or f"http://{config.host}:{config.port}"
        webhook_rng = random.Random(self.rng.random())
        self.webhooks = WebhookSender(
            config.retry, webhook_rng, self.faults.disturb, url, config.webhook_connections
        )

    def draw(self, span: Range) -> float:
        """A duration in seconds drawn from a range."""
        return self.rng.uniform(*span)

    async def pause(self, seconds: float) -> None:
        """Hold a request for a while. Raises HangUp when the simulator stops meanwhile."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
            raise HangUp

    def hang_up(self) -> None:
        """End every request that is being held: the server is about to stop."""
        self._stopping.set()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` after a while, unless the simulator is reset or stopped first."""

        def run() -> None:
            self._timers.discard(handle)
            action()

        handle = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(handle)

    def when_reachable(self, instance: Instance, action: Callable[[], None]) -> None:
        """Run `action` now, or when the instance is back online, as WhatsApp's own queue does."""
        if instance.is_open and not instance.stalled:
            action()
        else:
            instance.held.append(action)

    def release(self, instance: Instance) -> None:
        """Hand over, in order, what was held back for an instance that is reachable again."""
        while instance.held and instance.is_open and not instance.stalled:
            instance.held.pop(0)()

    def reset(self, *, instances: bool) -> None:
        """Forget messages, faults, customers, groups, logs and pending work; instances too if asked."""
        self._cancel_timers()
        self.webhooks.cancel_all()
        self.webhooks.log.clear()
        self.accepted.clear()
        self.faults.remove()
        self.directory.clear()
        self.groups.clear()
        self.switches = Switches()
        self.traffic = Traffic()
        self.store.forget_messages()
        if instances:
            self.store.instances.clear()

    async def close(self) -> None:
        """Stop everything that is under way."""
        self._cancel_timers()
        await self.webhooks.close()
        self.accepted.close()

    def _cancel_timers(self) -> None:
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
