"""How a request may end other than well. `reason` is for people: a dead list, a log line."""

from __future__ import annotations


class EnrichmentError(Exception):
    """It was not done."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotNow(EnrichmentError):
    """Its time has not come: no attempt is counted.

    `seconds` is when it may be tried again; `turn` says that it holds its instance's turn of that moment.
    """

    def __init__(self, reason: str, seconds: float, *, turn: bool = False) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.turn = turn


class TryAgain(EnrichmentError):
    """It failed and may work another time."""


class GivenUp(EnrichmentError):
    """It cannot work, however often it is tried."""
