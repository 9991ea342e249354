"""What a call to Evolution may raise. Sends do not raise: they return an `Outcome`."""

import asyncio

from .verdicts import Outcome


class EvolutionError(Exception):
    """A call that sends nothing failed. `permanent` is the retry policy: True means never again.

    `reason` is a key of `outcomes.REASONS`, `status` the HTTP status (None when no answer came). The text
    names the operation and the address, never a key.
    """

    def __init__(self, reason: str, *, permanent: bool, status: int | None, where: str = "") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.permanent = permanent
        self.status = status


class SendCancelled(asyncio.CancelledError):
    """The task was cancelled during a send; `outcome` says whether the message may be on its way.

    A CancelledError, so that whoever does not know it still stops. Catch it in the task that sends, record
    `outcome` and raise it again: asyncio.gather hands on a plain CancelledError, without the outcome.
    """

    def __init__(self, outcome: Outcome, *, bytes_left: bool) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.bytes_left = bytes_left
