"""Scenarios: their registry, and what one may use while it runs."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from uuid import UUID

from testing import servers

from drill.load import Lane, Ledger, Load, Poster
from drill.oracle import MOVING, Owed, Row, State, Verdict, judge, moving
from drill.world import Plan, Tenant, World, phones


class Skipped(Exception):
    """The scenario cannot be played here; the text says why."""


BOTH: Final = ("sqlite", "postgresql")
_LOOK_EVERY = 0.25
# Half the default pace of a number: what waits for its turn is not late.
_SLOWEST_PACE = 40


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, its number in the list of reliability, and what must hold beyond the universal line."""

    number: int
    name: str
    fault: str
    expected: str
    body: Callable[[Drill], None]
    plan: Plan
    databases: tuple[str, ...] = BOTH


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    number: int,
    name: str,
    fault: str,
    expected: str = "",
    *,
    databases: tuple[str, ...] = BOTH,
    settings: dict[str, str] | None = None,
    simulator: tuple[str, ...] = (),
    redis: dict[str, str] | None = None,
    proxied: bool = False,
    tenants: int = 1,
    broker: bool = False,
    bucket: bool = False,
) -> Callable[[Callable[[Drill], None]], Callable[[Drill], None]]:
    """Register a function as a scenario.

    Args:
        settings: environment variables of the product, over those of the pace.
        simulator: its further command-line options.
        redis: its further configuration.
        proxied: put a misbehaving proxy before Redis.
        broker, bucket: files go through a RabbitMQ; they are kept in a bucket, behind a misbehaving proxy.
    """

    def register(body: Callable[[Drill], None]) -> Callable[[Drill], None]:
        plan = Plan(settings or {}, simulator, redis, proxied, tenants, broker, bucket)
        SCENARIOS[name] = Scenario(number, name, fault, expected, body, plan, databases)
        return body

    return register


@dataclass
class Drill:
    """One run of a scenario: the world, the load, and what was found.

    `check` notes a violation and goes on, so that one run tells all that is wrong.
    """

    world: World
    messages: int
    seed: int
    progress: Callable[[str], None]
    rng: random.Random = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    violations: list[str] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)
    decided_after: float | None = None
    may_hold: bool = False
    may_fail: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(f"drill {self.seed}")
        self._phones = iter(phones(self.seed, 5000))
        self._written = 0

    # --- parts ------------------------------------------------------------------------------------

    @property
    def tenant(self) -> Tenant:
        """The first one."""
        return self.world.tenants[0]

    def worker(self, **env: str) -> servers.StreamWorker:
        """A worker process."""
        return self.world.worker(env)

    def lanes(self, count: int, tenant: Tenant | None = None) -> list[Lane]:
        """Conversations with new customers."""
        return [(tenant or self.tenant).lane(next(self._phones)) for _ in range(count)]

    def warm_up(self, tenant: Tenant | None = None, until: tuple[str, ...] = ("delivered", "seen")) -> None:
        """A message that surely went out, without which the absence of a later one could never be told."""
        worker = self.worker()
        lane = self.lanes(1, tenant)[0]
        message = self.post(lane, f"canary {self.seed}", tenant)
        self.wait_for(lambda: self.status(message, tenant) in until, 40, "the canary")
        worker.stop()

    # --- load -------------------------------------------------------------------------------------

    def post(self, lane: Lane, text: str | None = None, tenant: Tenant | None = None) -> Owed:
        """One message (its text unique unless given), accepted by the API."""
        return Poster((tenant or self.tenant).http, self.ledger).post(lane, text or self._text())

    def load(
        self,
        messages: int | None = None,
        lanes: Sequence[Lane] | int = 12,
        *,
        rate: float | None = None,
        tenant: Tenant | None = None,
    ) -> Load:
        """Messages to these lanes, in a seeded order; `with self.load():` posts them in the background."""
        chosen = self.lanes(lanes, tenant) if isinstance(lanes, int) else list(lanes)
        plan = [
            (self.rng.choice(chosen), self._text())
            for _ in range(self.messages if messages is None else messages)
        ]
        poster = Poster((tenant or self.tenant).http, self.ledger)
        return Load(poster.post, plan, rate=rate)

    def write_all(self, messages: int | None = None, lanes: Sequence[Lane] | int = 12) -> list[Owed]:
        """Messages accepted before anything else goes on."""
        before = len(self.ledger.owed)
        with self.load(messages, lanes):
            pass
        return self.ledger.owed[before:]

    def _text(self) -> str:
        self._written += 1
        return f"drill {self.seed} n{self._written:05d} {self.rng.getrandbits(32):08x}"

    # --- looking ----------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Tell the person who watches."""
        self.progress(line)

    def status(self, message: Owed, tenant: Tenant | None = None) -> str:
        """What people see of a message."""
        return str(self.shown(message, tenant)["status"])

    def shown(self, message: Owed, tenant: Tenant | None = None) -> dict[str, Any]:
        """A message as the API shows it."""
        shown: dict[str, Any] = (tenant or self.tenant).call("GET", f"messages/{UUID(message.id)}/")
        return shown

    def rows(self) -> dict[str, Row]:
        """Message id -> its delivery."""
        return self.world.database.rows()

    def wait_for(self, condition: Callable[[], object], within: float, what: str) -> float:
        """Wait, and answer how long it took; raises AssertionError after `within` seconds."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within:
                raise AssertionError(f"{what} did not come within {within:g} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def check(self, holds: object, otherwise: str) -> None:
        """An expectation of this scenario beyond the universal line."""
        if not holds:
            self.violations.append(otherwise)
            self.say(f"VIOLATION: {otherwise}")

    def figure(self, name: str, value: float | int | str) -> None:
        """A number to report."""
        self.figures[name] = round(value, 3) if isinstance(value, float) else value

    # --- the end ----------------------------------------------------------------------------------

    def settle(self, within: float | None = None) -> float:
        """Wait until every message is decided; the seconds that took. Running out of time is a violation."""
        within = (within or self.world.times.patience) + self.messages / _SLOWEST_PACE
        began = time.monotonic()
        told = began
        while left := moving(self.ledger.owed, self.rows()):
            now = time.monotonic()
            if now - began > within:
                self.check(False, f"{len(left)} messages undecided after {within:g} s: {_states(left)}")
                break
            if now - told > 5:
                told = now
                self.say(f"{len(left)} undecided: {_states(left)}")
            time.sleep(_LOOK_EVERY)
        self.decided_after = (self.decided_after or 0.0) + time.monotonic() - began
        return time.monotonic() - began

    def in_hand(self) -> frozenset[str]:
        """The messages that are out for sending, or unclear, at this moment."""
        held = (State.SENDING, State.VERIFYING)
        return frozenset(row.message for row in self.rows().values() if row.state in held)

    def wait_decided(self, messages: Collection[str], within: float) -> float:
        """Wait until these are decided; the seconds that took. Running out of time is a violation."""
        began = time.monotonic()
        while left := [row for row in self._rows_of(messages) if row.state in MOVING]:
            if time.monotonic() - began > within:
                self.check(False, f"{len(left)} of {len(messages)} in hand undecided after {within:g} s")
                break
            time.sleep(_LOOK_EVERY)
        return time.monotonic() - began

    def _rows_of(self, messages: Collection[str]) -> list[Row]:
        rows = self.rows()
        return [rows[message] for message in messages]

    def verdict(self) -> Verdict:
        """The oracle's, on everything this drill wrote; what is universal becomes a violation here."""
        verdict = judge(self.ledger.owed, self.world.accepted(), self.rows())
        for violation in verdict.violations():
            self.check(False, violation)
        if not self.may_hold:
            self.check(not verdict.held, f"held = {verdict.held}")
        if not self.may_fail:
            self.check(not verdict.failed, f"failed = {verdict.failed}")
        self._check_left_over()
        self.say("verdict: " + ", ".join(f"{name} {count}" for name, count in asdict(verdict).items()))
        return verdict

    def _check_left_over(self) -> None:
        """Nothing is left in the streams once the readers have seen it; needs a living worker."""
        deadline = time.monotonic() + 5 + 4 * self.world.times.reclaim
        while (left := self.world.left_in_redis()) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
        self.figure("left_in_streams", left)
        self.check(not left, f"{left} entries left in the streams")


def _states(rows: Sequence[Row]) -> str:
    counts = Counter(f"{row.state.name.lower()} {row.reason}".strip() for row in rows)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
