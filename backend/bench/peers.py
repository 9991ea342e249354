"""The systems we stand beside: their pinned versions, and a throw-away environment for each.

A peer that cannot be installed or started is left out, with the reason told in the report.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

QUEUES = Path(__file__).resolve().parent / "queues"
INSTALL_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue system: what to install, and what share of the usual number of jobs it gets through in the same time."""

    name: str
    packages: tuple[str, ...]
    share: float = 1.0
    amqp: bool = False
    quick: bool = False


PEERS = (
    Peer("dramatiq", ("dramatiq[redis]==2.2.1",), quick=True),
    Peer("rabbitmq", ("aio-pika==10.2.1",), 3.0, amqp=True, quick=True),
    Peer("taskiq", ("taskiq-redis==1.2.4",), 0.5),
    Peer("huey", ("huey==3.5.4", "redis==8.1.0"), 0.5),
    Peer("celery", ("celery[redis]==5.7.0",), 0.25),
    Peer("rq", ("rq==3.0.0",), 0.05),
)


class NotInstalled(Exception):
    """The reason, in one line."""


def install(peer: Peer, directory: Path) -> Path:
    """Make an environment for the peer; its Python.

    Raises:
        NotInstalled: the registry does not answer, or has no such version.
    """
    place = directory / peer.name
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--disable-pip-version-check",
    ]
    try:
        done = subprocess.run(
            [*command, *peer.packages], capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"not installed within {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise NotInstalled((done.stderr.strip().splitlines() or ["pip failed"])[-1][:200])
    return python


def program(name: str) -> Path:
    """The program of a peer, or of the yardstick."""
    own = QUEUES / f"{name}_queue.py"
    return own if own.exists() else QUEUES / f"{name}.py"
