"""This process among the workers: a row, a heartbeat, and whether we may still act."""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from apps.chat.models import Worker


def process_name() -> str:
    """host-pid-boot: never the same for two processes, nor for one pid used twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class Presence:
    """Renews our heartbeat and remembers, by our own clock, how old it is.

    `alive` is asked at the last instant before bytes leave: a worker that could not renew may have been declared dead,
    and its rows taken over, so it stops sending until it can.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        self._renewed = 0.0

    def register(self) -> None:
        """Write our row. Runs on a database thread."""
        began = time.monotonic()
        self.id = Worker.objects.create(name=self.name).pk
        self._renewed = began

    def beat(self) -> None:
        """Renew; a row that was cleared away meanwhile is written anew. Runs on a database thread."""
        began = time.monotonic()
        if Worker.objects.filter(pk=self.id, stopped=False).update(beat_at=Now()):
            self._renewed = began
        else:
            self.register()

    def leave(self) -> None:
        """Say that nothing of ours is in flight any more, and clear away who left long ago."""
        Worker.objects.filter(pk=self.id).update(stopped=True)
        self.forget_old()

    @property
    def alive(self) -> bool:
        """Was the last renewal *begun* within CHAT_HEARTBEAT_DEAD_SECONDS?"""
        return time.monotonic() - self._renewed < settings.CHAT_HEARTBEAT_DEAD_SECONDS

    @staticmethod
    def forget_old() -> None:
        """Clear rows of workers long gone, whose every lease is over."""
        horizon = timedelta(seconds=4 * settings.CHAT_SEND_LEASE_SECONDS + 3600)
        Worker.objects.filter(Q(beat_at__lt=Now() - horizon)).delete()
