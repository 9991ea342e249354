"""The waist between callers and workers for what comes beside the text: contacts' pictures and names, groups, files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.conf import settings

from apps.chat.enrichment.handlers import (
    handle_fetch_contact_name,
    handle_fetch_group_info,
    handle_fetch_profile_pic,
)
from apps.chat.errors import InvalidMessage, NotFound
from apps.chat.evolution.client import EvolutionClient, Timeouts
from apps.chat.evolution.files import preview_text
from apps.chat.evolution.wire import bytes_of
from apps.chat.media import claims, intake, limits
from apps.chat.media.incoming import Fetcher, with_connection
from apps.chat.media.wake import wake
from apps.chat.models import Message, MessageAttachment

__all__ = [
    "handle_fetch_contact_name",
    "handle_fetch_group_info",
    "handle_fetch_profile_pic",
    "handle_process_incoming_media",
    "process_incoming_media",
]

logger = logging.getLogger(__name__)


class process_incoming_media:
    """Producer: have the file of an incoming message fetched, by way of RabbitMQ, or of the database without it."""

    @staticmethod
    def delay(
        tenant_id: UUID | str,
        message_id: UUID | str,
        media_url: str | None,
        media_type: str,
        instance_name: str | None = None,
        api_key: str | None = None,
        evolution_api_url: str | None = None,
        message_key: Mapping[str, object] | None = None,
        mime_type: str | None = None,
        jpeg_thumbnail: str | None = None,
    ) -> None:
        """Call it after commit. What is queued are ids only: `api_key` goes nowhere, the instance's own is used.

        Args:
            media_url: where the file is when WhatsApp cannot give it; only opened through the address checks.
            media_type: image, video, audio, voice, document or sticker.
            evolution_api_url: when given, must be the address of the message's own instance.
            message_key: when given, must be the key of the message.

        Raises:
            NotFound: the tenant has no such message.
            InvalidMessage: instance, address or key are not those of the message.
        """
        message = _message(tenant_id, message_id)
        _same_place(message, instance_name, evolution_api_url, message_key)
        kind = media_type if media_type in limits.KINDS else limits.DOCUMENT
        preview = preview_text(bytes_of(jpeg_thumbnail)) if jpeg_thumbnail else ""
        row = intake.expect(message, kind, url=media_url or "", mime=mime_type or "", preview=preview)
        if row.status == MessageAttachment.Status.PENDING:
            wake(row.pk, message.pk)


async def handle_process_incoming_media(
    tenant_id: UUID | str, message_id: UUID | str, *_: object, **__: object
) -> None:
    """Fetch the files of one message that are due, in this event loop; takes what `delay` takes.

    Doing it twice, or beside running workers, keeps nothing twice.

    Raises:
        NotFound: the tenant has no such message.
    """

    def find() -> list[UUID]:
        message = _message(tenant_id, message_id)
        return list(MessageAttachment.objects.filter(message=message).values_list("pk", flat=True))

    with ThreadPoolExecutor(2, thread_name_prefix="chat-media") as threads:
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(threads, lambda: with_connection(find))
        async with EvolutionClient(timeouts=Timeouts(media=settings.CHAT_MEDIA_TIMEOUT_SECONDS)) as client:
            fetcher = Fetcher(client, threads)
            for pk in rows:
                await fetcher.process(pk)


def download_again(attachment: MessageAttachment) -> bool:
    """A person wants a file that did not come; False when it is on its way or there already."""
    if not claims.ask_again(attachment.pk):
        return False
    logger.info("media asked for again", extra={"attachment": str(attachment.pk)})
    attachment.refresh_from_db()
    claims.announce(attachment)
    wake(attachment.pk, attachment.message_id)
    return True


def _message(tenant_id: UUID | str, message_id: UUID | str) -> Message:
    found = Message.objects.select_related("instance").filter(pk=message_id, tenant_id=tenant_id).first()
    if found is None:
        raise NotFound(f"There is no message {message_id}.")
    return found


def _same_place(
    message: Message, name: str | None, url: str | None, key: Mapping[str, object] | None
) -> None:
    """A caller may repeat what we know; it may not send us elsewhere."""
    instance = message.instance
    if name is not None and name != instance.name:
        raise InvalidMessage("instance_name is not the message's instance.")
    if url is not None and url.rstrip("/") != instance.base_url.rstrip("/"):
        raise InvalidMessage("evolution_api_url is not the address of the message's instance.")
    if key is not None and key.get("id") not in (None, message.provider_id):
        raise InvalidMessage("message_key is not the message's key.")
