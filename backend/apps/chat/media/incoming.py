"""Fetching one attachment: claim its row, get the bytes, believe them only after a look, keep them, say so.

The bytes come from the webhook itself when it carried them, from Evolution, or from an address that a channel without
WhatsApp's encryption gave. They go to a private file in pieces and are never in memory as a whole. Whatever happens
ends in the row: completed, failed, skipped, or pending with the time of the next try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone
from prometheus_client import Counter

from apps.chat.delivery import failpoints
from apps.chat.evolution.base64_answer import AnswerUnreadable, Base64Answer, decode_text
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef, MessageKey
from apps.chat.media import carried, claims, errors, fetch, limits, patience, sniff, store, thumbs
from apps.chat.media.errors import MediaRefused, StorageAway
from apps.chat.media.patience import Again, Never
from apps.chat.models import MessageAttachment
from apps.chat.outage import Outage
from apps.tenancy.secrets import SecretUnreadable

logger = logging.getLogger(__name__)

RENEW_SECONDS: Final = claims.LEASE.total_seconds() / 3
# Of another try with other bytes: what came was cut off or mixed up on its way.
_WORTH_ANOTHER_TRY: Final = frozenset({errors.LENGTH_MISMATCH, errors.DAMAGED, errors.EMPTY})
_ENDED = Counter("chat_media_processed", "Attempts to fetch an attachment, by outcome.", ["outcome"])
storage_outage = Outage(logger, "media storage", "default storage")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed row with what is needed beside it."""

    row: MessageAttachment
    ref: InstanceRef

    @property
    def age(self) -> float:
        return (timezone.now() - self.row.asked_at).total_seconds()


class Fetcher:
    """Processes attachments on an executor's threads, any number at a time. One per event loop."""

    def __init__(self, client: EvolutionClient, threads: Executor) -> None:
        self._client, self._threads = client, threads
        self._whole = asyncio.Semaphore(1)  # sources that are in memory as a whole: one at a time

    async def process(self, attachment_id: UUID) -> float | None:
        """Do what can be done now; in how many seconds it should be looked at again, None when it has ended.

        Raises:
            DatabaseError: the row could not be read or written; it is due again when its lease ends.
        """
        job = await self._database(lambda: _claim(attachment_id))
        if job is None:
            return await self._database(lambda: claims.seconds_left(attachment_id))
        working = asyncio.current_task()
        assert working is not None
        renewing = asyncio.create_task(self._keep(job.row, working), name="media lease")
        try:
            return await self._work(job)
        except asyncio.CancelledError:
            if renewing.done() and not renewing.cancelled() and renewing.exception() is None:
                _ENDED.labels("lost").inc()
                return None  # cancelled by our own renewal: the row has another owner
            with suppress(DatabaseError):
                await asyncio.shield(self._database(lambda: claims.give_back(job.row)))
            raise
        finally:
            renewing.cancel()

    async def _keep(self, row: MessageAttachment, working: asyncio.Task[Any]) -> None:
        """Renew the lease until cancelled; cancel the work when the row is lost."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await self._database(lambda: claims.renew(row)):
                    working.cancel()
                    return
            except DatabaseError as error:
                logger.warning("media: lease not renewed", extra={"error": type(error).__name__})

    async def _work(self, job: Job) -> float | None:
        row = job.row
        try:
            values = await self._bring(job)
        except MediaRefused as refusal:
            return await self._refused(row, refusal)
        except EvolutionError as error:
            return await self._settle(row, patience.after(error, job.age, row.tries))
        except StorageAway as error:
            storage_outage.failed(error)
            return await self._settle(row, patience.wait(errors.STORAGE_AWAY, job.age))
        storage_outage.worked()
        failpoints.hit("media_stored")
        done = await self._database(lambda: claims.complete(row, **values))
        _tell("completed" if done else "lost", row)
        return None

    async def _refused(self, row: MessageAttachment, refusal: MediaRefused) -> float | None:
        if refusal.reason in _WORTH_ANOTHER_TRY and row.tries < settings.CHAT_MEDIA_DAMAGED_TRIES - 1:
            return await self._settle(row, patience.retry(refusal.reason, row.tries))
        await self._database(lambda: claims.refuse(row, refusal.reason, skipped=refusal.skipped))
        _tell("skipped" if refusal.skipped else "failed", row, refusal.reason)
        return None

    async def _settle(self, row: MessageAttachment, what: Again | Never) -> float | None:
        if isinstance(what, Never):
            await self._database(lambda: claims.refuse(row, what.reason))
            _tell("failed", row, what.reason)
            return None
        await self._database(lambda: claims.put_off(row, what.reason, what.seconds, counted=what.counted))
        _tell("again", row, what.reason)
        return what.seconds

    # --- the bytes --------------------------------------------------------------------------------

    async def _bring(self, job: Job) -> dict[str, Any]:
        """The row's new values, the file being kept."""
        row = job.row
        source: dict[str, Any] = row.source or {}
        if source.get("event") is not None:
            with suppress(MediaRefused, AnswerUnreadable):
                async with self._whole:
                    return await self._incoming(row, lambda file: self._from_webhook(source["event"], file))
        if source.get("url"):
            return await self._incoming(row, lambda file: self._from_address(job, source["url"], file))
        return await self._incoming(row, lambda file: self._from_evolution(job, file))

    async def _incoming(
        self, row: MessageAttachment, fill: Callable[[store.Incoming], Awaitable[None]]
    ) -> dict[str, Any]:
        file = await self._thread(lambda: store.Incoming(row.tenant_id, limits.max_bytes(row.kind)))
        try:
            await fill(file)
            failpoints.hit("media_fetched")
            return await self._thread(lambda: examine_and_keep(file, row))
        finally:
            await asyncio.shield(self._thread(file.discard))

    async def _from_evolution(self, job: Job, file: store.Incoming) -> None:
        answer = Base64Answer()

        def take(chunk: bytes) -> None:
            file.write(answer.feed(chunk))
            failpoints.hit("media_half")

        try:
            await self._client.stream_media(
                job.ref, _key(job.row), lambda chunk: self._thread(lambda: take(chunk))
            )
            answer.finish()
        except AnswerUnreadable as error:
            raise MediaRefused(errors.DAMAGED) from error

    async def _from_webhook(self, event_id: int, file: store.Incoming) -> None:
        text = await self._database(lambda: carried.text_of(event_id))

        def write() -> None:
            for piece in decode_text(text):
                file.write(piece)

        await self._thread(write)

    async def _from_address(self, job: Job, url: str, file: store.Incoming) -> None:
        """A stranger may have chosen the address: only the checked fetcher goes there."""
        allowed = {fetch.place_of(job.ref.base_url)}
        try:
            await fetch.fetch(
                url,
                max_bytes=limits.max_bytes(job.row.kind),
                timeout=settings.CHAT_MEDIA_TIMEOUT_SECONDS,
                allow_hosts=allowed,
                take=lambda chunk: self._thread(lambda: file.write(chunk)),
            )
        except fetch.FetchRefused as error:
            too_big = error.reason == "too_big"
            raise MediaRefused(
                errors.TOO_BIG if too_big else errors.ADDRESS_REFUSED, skipped=too_big
            ) from error
        except fetch.FetchFailed as error:
            raise EvolutionError("media_download_failed", permanent=False, status=error.status) from error

    # --- threads ----------------------------------------------------------------------------------

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._thread(lambda: with_connection(work))


def examine_and_keep(file: store.Incoming, row: MessageAttachment) -> dict[str, Any]:
    """Look at a whole file and keep it with its small picture; the row's new values. Blocking.

    Raises:
        MediaRefused: it is not what was announced, not on the allow-list, or broken.
        StorageAway: the storage did not take it.
    """
    claimed = (row.source or {}).get("size")
    if not file.size:
        raise MediaRefused(errors.EMPTY)
    if claimed is not None and claimed != file.size:
        raise MediaRefused(errors.LENGTH_MISMATCH)
    what = sniff.check(file.head, row.kind, row.file_name)
    seen = thumbs.look(file.complete(), what)
    small = store.keep(row.tenant_id, [seen.thumbnail], 1 << 22) if seen.thumbnail else None
    kept = file.keep()
    values = {
        "mime_type": what.mime,
        "size": kept.size,
        "sha256": kept.sha256,
        "file": kept.name,
        "thumbnail": small.name if small else "",
    }
    measured = {"width": seen.width, "height": seen.height, "duration_ms": seen.duration_ms}
    if row.waveform is None:
        measured["waveform"] = seen.waveform  # type: ignore[assignment]
    return values | {name: value for name, value in measured.items() if value is not None}


def _claim(attachment_id: UUID) -> Job | None:
    row = claims.claim(attachment_id)
    if row is None or row.message is None:
        return None
    instance = row.message.instance
    try:
        return Job(row, InstanceRef(instance.name, instance.base_url, instance.api_key))
    except SecretUnreadable:
        claims.put_off(row, patience.AWAY, 300, counted=False)
        return None


def _key(row: MessageAttachment) -> MessageKey:
    source: dict[str, Any] = row.source or {}
    return MessageKey(
        str(source.get("id", "")),
        str(source.get("remote_jid", "")),
        from_me=source.get("from_me") is True,
        participant=str(source.get("participant") or "") or None,
    )


def with_connection(work: Callable[[], T]) -> T:
    """Do database work on a thread that comes and goes: it keeps no connection."""
    try:
        return work()
    finally:
        connection.close()


def _tell(outcome: str, row: MessageAttachment, reason: str = "") -> None:
    _ENDED.labels(outcome).inc()
    level = logging.WARNING if outcome == "failed" else logging.INFO
    extra = {
        "attachment": str(row.pk),
        "kind": row.kind,
        "outcome": outcome,
        "reason": reason,
        "tries": row.tries,
    }
    logger.log(level, "media", extra=extra)
