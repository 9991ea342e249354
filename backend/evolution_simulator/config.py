"""Everything that can be set when a simulator starts. All times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

Range = tuple[float, float]

NON_RETRYABLE = frozenset({400, 401, 403, 404, 422})
"""Answers Evolution never retries a webhook for (its default env list)."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Evolution's webhook retries: exponential, capped, jittered, never below the initial delay."""

    attempts: int = 10
    initial: float = 5.0
    maximum: float = 300.0
    jitter: float = 0.2
    timeout: float = 30.0
    non_retryable: frozenset[int] = NON_RETRYABLE


@dataclass(frozen=True, slots=True)
class Timing:
    """How long simulated people and networks take; each range is drawn from uniformly."""

    latency: Range = (0.0, 0.0)
    """From the end of a send's checks to its acceptance."""
    delivery: Range = (0.05, 0.25)
    """From acceptance to DELIVERY_ACK, unless the customer says otherwise."""
    read: Range = (0.2, 1.0)
    """From DELIVERY_ACK to READ, unless the customer says otherwise."""
    answer: Range = (1.0, 3.0)
    """From READ to a customer's answer, unless the customer says otherwise."""
    connect: float = 2.0
    """How long GET /instance/connect takes from `close`."""


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """One simulator. `server_url` is what webhooks carry; empty means http://host:port."""

    api_key: str
    host: str = "127.0.0.1"
    port: int = 8090
    server_url: str = ""
    control_key: str | None = None
    seed: int | None = None
    log_path: Path | None = None
    demo: bool = False
    demo_token: str | None = None
    demo_greetings: bool = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timing: Timing = field(default_factory=Timing)
    echo_before: float = 0.5
    """Probability that `send.message` is delivered before the HTTP answer rather than after it."""
    fetch_media: bool = True
    """Fetch media URLs as the real server does, so that an unreachable one fails here too."""
    body_limit: int = 136 * 1024 * 1024
    keep_messages: int = 100_000
    """Messages remembered per instance; the oldest are forgotten first."""
    webhook_connections: int = 512
    """Webhook requests in flight at once. The real server has no cap; this spares file descriptors."""
