"""What every measure gets: the world, the sizes, and where the samples go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Samples
from bench.world import Database, World


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    rounds: int = 3
    drain: int = 60_000
    waits: int = 20_000
    peer_jobs: int = 3_000
    latency_seconds: int = 6
    sends: int = 8_000
    seed_sends: int = 200
    batched_sends: int = 8_000
    posts: int = 300
    events: int = 2_000
    bulk: int = 50_000
    long_stream: int = 1_000_000
    history: int = 1_000_000
    conversations: int = 100_000
    sockets: int = 1_000
    minutes: float = 17.0


FULL = Sizes()
QUICK = Sizes(
    rounds=1, drain=20_000, waits=5_000, peer_jobs=1_000, latency_seconds=3, sends=2_000, seed_sends=80,
    batched_sends=2_000, posts=150, events=600, bulk=20_000, long_stream=100_000, history=100_000, conversations=10_000,
    sockets=300, minutes=3.5,
)  # fmt: skip


@dataclass
class Bench:
    """One run."""

    world: World
    sizes: Sizes
    empty: Database
    full: Database
    samples: Samples = field(default_factory=Samples)
    peers: dict[str, Path] = field(default_factory=dict)
    amqp_url: str = ""
    notes: list[str] = field(default_factory=list)
