"""A database backend: Django's own, but a connection whose server has hung up is replaced before it is used.

All our threads last, so each keeps a connection (CONN_MAX_AGE None). After a restart of the server, or of a proxy
before it, all of them are dead at once, and each would cost somebody a failed request. A socket that has something to
say while nobody asked says that the server closed it; looking costs microseconds, against a round trip for Django's
health check and against a pool, whose replacement of dead connections backs off for seconds.
"""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Looks at the socket where Django, told to, would ask `SELECT 1`: before a cursor, outside of transactions."""

    def close_if_health_check_failed(self) -> None:
        if self.connection is None or self.in_atomic_block or not _has_hung_up(self.connection):
            return
        self.close()


def _has_hung_up(connection: Any) -> bool:
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
