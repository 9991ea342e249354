"""Keeps a handful of processes together: started in order, watched, stopped in the opposite order."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from testing.process import Process, ServerError, die_with_parent

_POLL_SECONDS = 0.2
_ECHO_SECONDS = 1.0


class Stopped(BaseException):
    """Somebody asked us to stop. No Exception, so that nothing on the way handles it as a fault."""


def stop_on_signals() -> None:
    """SIGINT, SIGTERM and SIGHUP raise Stopped; a second one while stopping kills what is left.

    Signals that follow at once are taken for echoes: `make` passes on what the terminal or a service manager
    has sent to all of us already. Under `make`, its death counts as SIGTERM.
    """
    last = -math.inf

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > _ECHO_SECONDS:
            raise Stopped(signal.Signals(number).name)

    if "MAKELEVEL" in os.environ:
        die_with_parent(signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)


class Supervisor:
    """Processes that live and die together.

    Args:
        say: gets one line for each thing that happens.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._processes: list[Process] = []

    def launch(self, process: Process) -> None:
        """Starts a process, last in order, without waiting for it."""
        _rotate(process)
        self._processes.append(process)
        process.launch()

    def wait_ready(self, process: Process, label: str) -> None:
        """Waits for a launched process; raises ServerError when it does not come up, or another one dies."""
        began = time.monotonic()
        process.wait_ready()
        self.check()
        self.say(f"{label} ({time.monotonic() - began:.1f} s)")

    def check(self) -> None:
        """Raises ServerError when a process has died."""
        for process in self._processes:
            if not process.running:
                raise ServerError(
                    f"{process.name} ended with code {process.returncode}. "
                    f"Last lines of {process.log}:\n{process.tail()}"
                )

    def watch(self) -> NoReturn:
        """Returns never: ends with Stopped, or with ServerError when a process dies."""
        while True:
            self.check()
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stops all, the last started first; a signal on the way kills the rest at once."""
        try:
            while self._processes:
                self._processes[-1].stop()
                self._processes.pop()
        except Stopped:
            self.say("Killing what is left.")
            for process in self._processes:
                process.kill()


def _rotate(process: Process) -> None:
    """The log of the run before stays beside the new one, as `.1`."""
    if process.log.exists():
        process.log.replace(process.log.with_name(process.log.name + ".1"))
