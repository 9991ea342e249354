"""The system under a soak, and the looks at it; `bench.soak_load` loads it, `bench.soak` judges."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import redis
from drill.database import Database, Postgres
from drill.load import Ledger
from drill.oracle import MOVING, Sent, judge, lane_of
from drill.times import REAL
from drill.world import GROUP, WORK_STREAMS, Plan, World
from testing import servers
from testing.servers import Process

from bench import machine
from bench.figures import percentile
from bench.soak import Sample
from bench.soak_load import Customers, Sockets

_NEW: Final = "SELECT count(*) FROM chat_webhookevent WHERE state = 0"
_FILES: Final = "SELECT count(*) FROM chat_messageattachment WHERE status IN ('pending', 'processing')"
_INCOMING: Final = "SELECT provider_id FROM chat_message WHERE direction = 'incoming'"
_UNDECIDED: Final = "SELECT count(*) FROM chat_delivery WHERE state IN (0, 1, 2)"
_SESSIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
# What waits in a list, in somebody's hands or for later; the log of events for browsers is a list too, and full.
_LISTS: Final = ("chat:queue:*", "chat:lists:*")
# Databases of the Redis server that the product uses unless told otherwise.
_LISTS_DBS: Final = range(4)


class Command(Process):
    """One of the product's commands that run for ever; ready when its log says so."""

    def __init__(self, world: World, name: str, command: str) -> None:
        args = [sys.executable, "manage.py", command]
        log, env = world.directory / f"{name}.log", servers.environment(world.env)
        super().__init__(name, args, log=log, cwd=servers.BACKEND, env=env, grace=35)

    def ready(self) -> bool:
        return re.search(r"\bready\b", self.output()) is not None


def start_all(world: World, *, inside: bool) -> dict[str, Process]:
    """The processes of a deployment, started; with `inside` only the server, which has its consumers inside."""
    started: dict[str, Process] = {"server": world.web}
    if not inside:
        started["worker"] = world.worker(wait=False)
        for name, command in (("lists", "start_chat_consumer"), ("media", "start_chat_media_worker")):
            started[name] = Command(world, name, command)
            world.workers.append(started[name])  # which end with it
            started[name].launch()
    for process in started.values():
        process.wait_ready(60)
    return started


def open_world(directory: Path, database: Database, seed: int, *, inside: bool) -> World:
    """Redis, database, simulator and web server, not entered yet; `inside`: consumers within the server."""
    settings = {"CHAT_DISABLE_ASGI_CONSUMERS": "0" if inside else "1", "CHAT_PACE_RATE": "0"}
    # Acknowledgements as a customer's phone gives them, soon enough to be part of the soak's end.
    timing = ("--delivery", "0.2", "2", "--read", "1", "5")
    return World(directory, database, REAL, seed, Plan(settings, timing))


@dataclass
class Looks:
    """Takes the samples; keeps the accept log as it grows."""

    world: World
    ledger: Ledger
    processes: dict[str, Process]
    sent: list[Sent] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _posted: int = 0
    _cpu: dict[str, float] = field(default_factory=dict)
    _last_n: int = 0
    _at: dict[tuple[str, str], float] = field(default_factory=dict)
    _unmatched: list[tuple[str, str, float]] = field(default_factory=list)

    def begin(self) -> None:
        """The load begins now."""
        self._began = time.monotonic()
        self._cpu = self._cpu_seconds()

    def take(self) -> Sample:
        """One sample, kept. Raises AssertionError when a process has died."""
        for name, process in self.processes.items():
            assert process.running, f"the {name} died: {process.tail(5)}"
        self._read_accept_log()
        fresh = self.ledger.owed[self._posted :]
        self._posted += len(fresh)
        self._at |= {(one.lane, one.text): one.posted_at for one in fresh}
        api = [one.seconds * 1000 for one in fresh]
        provider = self._on_their_way()
        streams, pending, lists = self._redis()
        sample = Sample(
            at=time.monotonic() - self._began,
            memory_mb={name: memory_mb(one.pid) for name, one in self.processes.items()},
            files={name: open_files(one.pid) for name, one in self.processes.items()},
            cpu=self._shares(),
            posted=len(fresh),
            api_p50=_share(api, 0.5),
            api_p95=_share(api, 0.95),
            provider_p50=_share(provider, 0.5),
            provider_p95=_share(provider, 0.95),
            streams=streams,
            pending=pending,
            lists=lists,
            journal=self.world.database.number(_NEW),
            connections=self._connections(),
        )
        self.samples.append(sample)
        return sample

    def _shares(self) -> dict[str, float]:
        """What each used of a core since the look before, and all programs together of all cores."""
        before, self._cpu = self._cpu, self._cpu_seconds()
        spent = {name: seconds - before.get(name, 0.0) for name, seconds in self._cpu.items()}
        wall = max(spent.pop("wall"), 0.001)
        return {name: seconds / wall for name, seconds in spent.items()}

    def _cpu_seconds(self) -> dict[str, float]:
        used = {name: cpu_seconds(one.pid) for name, one in self.processes.items()}
        return {**used, "machine": busy_seconds() / (os.cpu_count() or 1), "wall": time.monotonic()}

    def left(self) -> dict[str, int]:
        """What is still under way, and how much of it."""
        database = self.world.database
        streams, _, _ = self._redis()
        left = {
            "messages to send": database.number(_UNDECIDED),
            "webhooks to apply": database.number(_NEW),
            "stream entries": streams,
            "files": database.number(_FILES),
        }
        return {name: count for name, count in left.items() if count}

    def _read_accept_log(self) -> None:
        for entry in self.world.simulator.control("GET", f"accepted?since_n={self._last_n}")["accepted"]:
            self._last_n = int(entry["n"])
            lane = lane_of(entry["jid"])
            self.sent.append(
                Sent(lane, entry["text"], entry["key_id"], float(entry["at"]), entry["answered"])
            )
            self._unmatched.append((lane, entry["text"], float(entry["at"])))

    def _on_their_way(self) -> list[float]:
        """Milliseconds from the request to WhatsApp, of messages whose request is known to be answered."""
        known = [(lane, text, at) for lane, text, at in self._unmatched if (lane, text) in self._at]
        self._unmatched = [one for one in self._unmatched if (one[0], one[1]) not in self._at]
        return [
            (at - self._at.pop((lane, text))) * 1000 for lane, text, at in known if (lane, text) in self._at
        ]

    def _redis(self) -> tuple[int, int, int]:
        with contextlib.closing(self.world.streams()) as client:
            streams = sum(int(client.xlen(name)) for name in WORK_STREAMS)
            pending = sum(_pending(client, name) for name in WORK_STREAMS)
        return streams, pending, sum(self._lists_of(db) for db in _LISTS_DBS)

    def _lists_of(self, db: int) -> int:
        with contextlib.closing(redis.Redis(port=self.world.redis.port, db=db, socket_timeout=5)) as client:
            found = (client.scan_iter(match, count=1000, _type="list") for match in _LISTS)
            return sum(int(client.llen(key)) for keys in found for key in keys)

    def _connections(self) -> int:
        if isinstance(self.world.database, Postgres):
            return self.world.database.number(_SESSIONS) - 1  # without the one that asks
        return sum(_handles_of(one.pid, "drill.sqlite3") for one in self.processes.values())


def _pending(client: redis.Redis, stream: str) -> int:
    try:
        return int(client.xpending(stream, GROUP)["pending"])
    except redis.ResponseError:  # nobody has made the group yet
        return 0


def _share(values: Sequence[float], share: float) -> float | None:
    return percentile(values, share) if values else None


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / machine.TICKS


def busy_seconds() -> float:
    """Processor time that all programs of this machine have used: neither idle nor waiting for the disk."""
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / machine.TICKS


def open_files(pid: int) -> int:
    """How many files and sockets a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _handles_of(pid: int, name: str) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += entry.readlink().name == name
    return count


def end(looks: Looks, customers: Customers, sockets: Sockets) -> tuple[dict[str, int], list[str]]:
    """The oracle's figures once all is quiet, and what did not hold."""
    looks.take()
    rows = looks.world.database.rows()
    told = judge(looks.ledger.owed, looks.sent, rows)
    stored = [str(row[0]) for row in looks.world.database.select(_INCOMING)]
    figures = {
        "messages": told.messages,
        "accepted": told.accepted,
        "lost": told.lost,
        "doubled": told.doubled,
        "out_of_order": told.out_of_order,
        "open": told.open,
        "held": told.held,
        "failed": told.failed,
        "customers_wrote": len(customers.said),
        "customers_lost": len(set(customers.said) - set(stored)),
        "customers_doubled": len(stored) - len(set(stored)),
        "left_in_streams": looks.samples[-1].streams,
        "moving": sum(1 for row in rows.values() if row.state in MOVING),
        "sockets_closed": sockets.closed,
        "events_read": sockets.events,
        "api_refusals": looks.ledger.refusals,
    }
    free = {"messages", "accepted", "customers_wrote", "events_read"}
    return figures, [f"{name} = {number}" for name, number in figures.items() if number and name not in free]
