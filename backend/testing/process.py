"""A child process that never outlives its parent: started with a deadline, stopped in order, its log at hand.

Each child leads its own process group, so that a Ctrl-C in the terminal reaches only the parent, which then
stops its children in the order it wants. At exit every group still alive is killed; if the parent itself is
killed, Linux kills the child (PR_SET_PDEATHSIG). That signal is tied to the thread that started the child:
start children from the main thread, or from one that lives as long as they should.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_alive: weakref.WeakSet[Process] = weakref.WeakSet()


class ServerError(RuntimeError):
    """A server did not start, or died; the message ends with the last lines of its log."""


class ServerMissing(ServerError):
    """The program of a server is not installed here."""


def die_with_parent(number: signal.Signals) -> None:
    """From now on the death of our parent sends us `number`; nothing where the system cannot."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, number)


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the child does between fork and exec; None where there is nothing to do."""
    if _libc is None:
        return None

    def arrange() -> None:
        die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return arrange


class Process:
    """One child process.

    Args:
        name: for messages and the log's file name.
        args: the command line.
        log: file that gets its stdout and stderr, appended.
        env: its whole environment (None: ours).
        cwd: its working directory.
        user: system user to run as; needs root.
        grace: seconds between SIGTERM and SIGKILL in `stop`.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        grace: float = 10,
    ) -> None:
        self.name, self.args, self.log, self.cwd = name, [str(arg) for arg in args], log, cwd
        self.env = None if env is None else dict(env)
        self.user, self.grace = user, grace
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    # --- life -------------------------------------------------------------------------------------

    def start(self, deadline: float = 30) -> Self:
        """Starts the child and waits until `ready` says so; raises ServerError after `deadline` seconds."""
        self.launch()
        return self.wait_ready(deadline)

    def launch(self) -> None:
        """Starts the child without waiting."""
        if self.running:
            raise RuntimeError(f"{self.name} is already running.")
        self._spawn()

    def wait_ready(self, deadline: float = 30) -> Self:
        """Waits until `ready` says so; otherwise kills the child and raises ServerError."""
        try:
            self.wait_until(self.ready, deadline, "did not get ready")
        except BaseException:
            self.kill()
            raise
        return self

    def ready(self) -> bool:
        """Whether the child does its work; subclasses ask the server itself."""
        return True

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when it is still there after `grace` seconds. Nothing when it is gone."""
        if self.running:
            self.resume()
            self.terminate()
            with contextlib.suppress(ServerError):
                self.wait(self.grace)
        self.kill()

    def restart(self, deadline: float = 30) -> Self:
        """`stop` and `start`, with the same address and data."""
        self.stop()
        return self.start(deadline)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._child = subprocess.Popen(  # noqa: S603
                self.args,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        _alive.add(self)

    # --- signals ----------------------------------------------------------------------------------

    def terminate(self) -> None:
        """SIGTERM to the child alone; it tells its own children."""
        if self._child is not None and self.running:
            self._child.terminate()

    def interrupt(self) -> None:
        """SIGINT to the child alone."""
        if self._child is not None and self.running:
            self._child.send_signal(signal.SIGINT)

    def pause(self) -> None:
        """SIGSTOP to the whole group."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to the whole group."""
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the whole group, and the child reaped."""
        child = self._child
        if child is None or self not in _alive:
            return
        self._signal_group(signal.SIGKILL)
        child.wait()
        _alive.discard(self)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    # --- state ------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The child's process id; raises ServerError before the first start."""
        if self._child is None:
            raise ServerError(f"{self.name} was not started.")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child is there (a stopped one, by SIGSTOP, is)."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the child ended; None while it runs. Negative: the signal that ended it."""
        return None if self._child is None else self._child.poll()

    def wait(self, deadline: float) -> int:
        """Waits for the child's end, returns its exit code; raises ServerError after `deadline` seconds."""
        if self._child is None:
            raise ServerError(f"{self.name} was not started.")
        try:
            return self._child.wait(deadline)
        except subprocess.TimeoutExpired:
            raise ServerError(self._say(f"was still running after {deadline:g} s")) from None

    def wait_until(self, condition: Callable[[], bool], deadline: float, what: str) -> None:
        """Waits for `condition`; raises ServerError when the child ends first or after `deadline` seconds."""
        end = time.monotonic() + deadline
        pause = 0.005
        while not condition():
            if not self.running:
                raise ServerError(self._say(f"ended with code {self.returncode}"))
            if time.monotonic() > end:
                raise ServerError(self._say(f"{what} within {deadline:g} s"))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def wait_for_line(self, text: str, deadline: float = 30) -> None:
        """Waits until the log written since the last start contains `text`."""
        self.wait_until(lambda: text in self.output(), deadline, f"did not say {text!r}")

    def output(self) -> str:
        """What the child wrote since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as stream:
            stream.seek(self._log_start)
            return stream.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """The last lines of what the child wrote since its last start."""
        return "\n".join(self.output().splitlines()[-lines:])

    def _say(self, what: str) -> str:
        return f"{self.name} {what}. Last lines of {self.log}:\n{self.tail() or '(nothing)'}"


@atexit.register
def kill_all() -> None:
    """Kills what is left; runs at the interpreter's exit."""
    for process in list(_alive):
        process.kill()
