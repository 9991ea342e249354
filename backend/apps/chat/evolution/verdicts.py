"""The vocabulary of a send's end: sent, not sent, or unclear, and what should follow."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Scope = Literal["message", "instance", "media", "host"]


class Verdict(StrEnum):
    """What is certain about a send. Doubt is UNCLEAR, never NOT_SENT."""

    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one call: a status and a parsed body, or the name of a transport error."""

    status: int | None
    body: object | None
    endpoint: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to.

    `reason` is a key of `REASONS`. `wait` is the least number of seconds before the next try (None: the usual
    backoff). `permanent`: trying again cannot help. `park`: hold the whole instance until it is well again.
    `throttle`: slow the instance down. `alert`: a person must act. `scope` says what the trouble belongs to.
    `provider_id`, `remote_jid` and `provider_time` (Unix seconds) are set when accepted. `detail` is the
    server's own first words, masked, for the passport.
    """

    verdict: Verdict
    reason: str
    wait: float | None = None
    permanent: bool = False
    park: bool = False
    provider_id: str | None = None
    remote_jid: str | None = None
    provider_time: int | None = None
    throttle: bool = False
    alert: bool = False
    scope: Scope = "message"
    detail: str | None = None
    http_status: int | None = None
