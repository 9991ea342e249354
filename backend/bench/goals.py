"""The goals F1 to F10 as sums over samples. Pure; what each name means is told by the measure that puts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from bench.figures import Samples, Spread

Kind = Literal["value", "ratio", "difference"]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the goals: a sample, alone or beside another, and the bound it should keep.

    Attributes:
        limit: what binds when it is missed, as far as is known.
    """

    number: str
    what: str
    sample: str
    bound: float
    unit: str
    kind: Kind = "value"
    beside: str = ""
    most: bool = False
    limit: str = ""

    def reached(self, samples: Samples) -> Spread | None:
        """The figure to hold against the bound; None when it was not measured."""
        if self.kind == "ratio":
            return samples.ratio(self.sample, self.beside)
        if self.kind == "difference":
            return samples.difference(self.sample, self.beside)
        return samples.spread(self.sample)

    def met(self, samples: Samples) -> bool | None:
        """Whether the median keeps the bound; None when it was not measured."""
        spread = self.reached(samples)
        if spread is None:
            return None
        return spread.median <= self.bound if self.most else spread.median >= self.bound

    def wanted(self) -> str:
        """The bound as text."""
        return f"{'at most' if self.most else 'at least'} {self.bound:g} {self.unit}".strip()


_SEND: Final = "the worker's processor: most of it is the HTTP client, then one log line and one event a send"
_APPLY: Final = (
    "a thread of the same process applies each event at once, about twelve statements and one commit"
)
_CORES: Final = "two cores in all: both workers, PostgreSQL, Redis, the provider and the load share them"

GOALS: Final = (
    Goal("F1", "no-op drain, beside raw", "drain.ours", 0.5, "x", "ratio", "drain.raw",
         limit="decoding and checking each entry (JSON, UUIDs), which raw leaves out"),
    Goal("F1", "no-op drain, beside Dramatiq", "drain.ours", 10, "x", "ratio", "drain.dramatiq"),
    Goal("F1", "no-op drain, beside RabbitMQ (prefetch 200)", "drain.ours", 6, "x", "ratio", "drain.rabbitmq"),
    Goal("F1", "20 ms jobs, beside raw", "waits.ours", 0.6, "x", "ratio", "waits.raw"),
    Goal("F2", "enqueue to handler at 50/s, p50 beside raw", "latency.ours.p50", 1.1, "x", "ratio",
         "latency.raw.p50", most=True, limit="decoding and checking the entry, about 0.1 ms of a busy core"),
    Goal("F2", "enqueue to handler at 50/s, p99 above raw", "latency.ours.p99", 2, "ms", "difference",
         "latency.raw.p99", most=True),
    Goal("F3", "whole send path, one process", "send.ours", 1000, "sends/s", limit=_SEND),
    Goal("F3", "beside the seed shape", "send.ours", 12, "x", "ratio", "send.seed", limit=_SEND),
    Goal("F3", "beside the batched yardstick", "send.ours", 0.7, "x", "ratio", "send.batched", limit=_SEND),
    Goal("F4", "API POST to 201 at 100/s, p95", "api.p95", 25, "ms", most=True,
         limit="the server's own processor time for each request (views, four statements, commit)"),
    Goal("F4", "API to first byte at the provider, idle, p50", "first_byte.p50", 10, "ms", most=True,
         limit="two commits (accept, step) lie in between, each as long as the disk takes"),
    Goal("F5", "webhook events journalled", "journal.rate", 500, "events/s",
         limit=_APPLY),
    Goal("F5", "webhook answer at 200/s, p95", "journal.p95", 50, "ms", most=True,
         limit=_APPLY),
    Goal("F6", "bulk enqueue beside pipelined XADD", "bulk.ours", 0.7, "x", "ratio", "bulk.raw",
         limit="three ids as text and JSON for each entry; raw adds a ready string"),
    Goal("F7", "sends with a full database beside an empty one", "send.full", 0.9, "x", "ratio", "send.ours"),
    Goal("F7", "drain with a long stream beside a short one", "drain.long", 0.9, "x", "ratio", "drain.ours"),
    Goal("F7", "status endpoint on the full database, p95", "status.p95", 10, "ms", most=True),
    Goal("F7", "conversation list on the full database, p95", "list.p95", 50, "ms", most=True),
    Goal("F8", "worker's memory at 512 lanes", "worker.mb", 150, "MB", most=True),
    Goal("F8", "Redis for each waiting wake-up", "wakeup.bytes", 250, "bytes", most=True,
         limit="three UUIDs as text are 158 characters of JSON"),
    Goal("F9", "event to the last of the sockets, p95", "fanout.p95", 150, "ms", most=True),
    Goal("F9", "server memory for each idle socket", "socket.kb", 40, "kB", most=True,
         limit="uvicorn's and channels' own state of a connection; ours is a deque, a lock and one task"),
    Goal("F10", "two worker processes beside one", "send.two", 1.7, "x", "ratio", "send.free", limit=_CORES),
)  # fmt: skip
