"""Saying once that a server is away, and once more when it is back."""

from __future__ import annotations

import logging
import threading
import time


class Outage:
    """Remembers whether a server answers. Thread-safe.

    Args:
        what: the server as people call it.
        where: its address, without credentials.
        pause: seconds after a failure during which `worth_trying` says no, so that callers fail fast.
    """

    def __init__(self, logger: logging.Logger, what: str, where: str, pause: float = 1.0) -> None:
        self._logger, self._what, self._where, self._pause = logger, what, where, pause
        self._lock = threading.Lock()
        self._since: float | None = None
        self._last = 0.0

    @property
    def worth_trying(self) -> bool:
        """No while the last failure is fresh."""
        return self._since is None or time.monotonic() - self._last >= self._pause

    @property
    def down(self) -> bool:
        """Was the last call a failure?"""
        return self._since is not None

    def failed(self, error: BaseException) -> None:
        """A call failed."""
        with self._lock:
            self._last = time.monotonic()
            if self._since is not None:
                return
            self._since = self._last
        extra = {"address": self._where, "error": type(error).__name__}
        self._logger.error("%s is away", self._what, extra=extra)

    def worked(self) -> None:
        """A call worked."""
        if self._since is None:
            return
        with self._lock:
            if self._since is None:
                return
            seconds = round(time.monotonic() - self._since, 1)
            self._since = None
        self._logger.warning(
            "%s is back", self._what, extra={"address": self._where, "away_seconds": seconds}
        )
