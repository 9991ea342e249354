"""Lanes put off: their heads' alarms are set to when the instance's pace may reach them.

Without this each of ten thousand waiting lanes would be offered and refused again every few seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from uuid import UUID

from django.db import connection

from apps.chat.delivery.batcher import DatabaseThread
from apps.chat.delivery.sql import statements
from apps.chat.models import Conversation

logger = logging.getLogger(__name__)

BATCH = 500


class Slots:
    """Gathers what was put off in this moment and writes it in one statement."""

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._seconds: dict[UUID, float] = {}
        self._writing: asyncio.Task[None] | None = None

    def put_off(self, conversation_id: UUID, seconds: float) -> None:
        """Offer this lane again in so many seconds."""
        self._seconds[conversation_id] = seconds
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="put lanes off")

    async def _write(self) -> None:
        try:
            while batch := [self._seconds.popitem() for _ in range(min(len(self._seconds), BATCH))]:
                await self._database.call(lambda rows=dict(batch): write(rows))  # type: ignore[misc]
        except Exception as error:  # the database is away: the alarms ring as they stand
            logger.warning("lanes not put off", extra={"error": type(error).__name__})
        finally:
            self._writing = None

    async def stop(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=1.0)


def write(seconds: Mapping[UUID, float]) -> None:
    """Set the alarm of each lane's head. One that somebody holds is left alone."""
    rows = [{"lane": lane.hex, "wait": round(wait, 3)} for lane, wait in seconds.items()]
    with connection.cursor() as cursor:
        cursor.execute(statements(connection.vendor).put_off, {"rows": json.dumps(rows)})


def instance_of(conversation_id: UUID) -> UUID | None:
    """Whose pace a lane goes by; None when there is no such conversation."""
    return Conversation.objects.filter(pk=conversation_id).values_list("instance_id", flat=True).first()
