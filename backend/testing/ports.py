"""Spare TCP ports on the loopback.

Ports come from below the kernel's range for outgoing connections. A port from inside that range can be taken
by any client of the machine while its server is down for a restart, and a client that keeps reconnecting to
it can even connect to itself.
"""

from __future__ import annotations

import random
import socket

_FIRST, _LAST = 15_000, 32_000
_given: set[int] = set()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def spare_port() -> int:
    """A free port that this process has not handed out before."""
    draw = random.SystemRandom()
    for _ in range(1000):
        port = draw.randrange(_FIRST, _LAST)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"No free port between {_FIRST} and {_LAST} on the loopback.")
