"""Files that people attach: looked at and kept on arrival, then sent with a message, or forgotten after a day."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from apps.chat.errors import ChatError
from apps.chat.media import errors, ffmpeg, names, sniff, store, thumbs
from apps.chat.media.errors import MediaRefused, StorageAway
from apps.chat.media.sniff import Sniffed
from apps.chat.models import MessageAttachment
from apps.chat.reasons import in_words
from apps.tenancy.models import User

logger = logging.getLogger(__name__)
Kind = MessageAttachment.Kind

UNUSED_FOR: Final = timedelta(days=1)
VOICE_NOT_CONVERTED: Final = "voice_not_converted"
_MIB: Final = 1024 * 1024
_THUMBNAIL_LONGEST: Final = _MIB
# What WhatsApp plays in place, and up to which size; all else goes as a document, which it carries unchanged.
_IN_PLACE: Final[dict[str, tuple[str, int]]] = {
    "image/jpeg": (Kind.IMAGE, 5 * _MIB),
    "image/png": (Kind.IMAGE, 5 * _MIB),
    "image/webp": (Kind.IMAGE, 5 * _MIB),
    "image/gif": (Kind.IMAGE, 5 * _MIB),
    "video/mp4": (Kind.VIDEO, 16 * _MIB),
    "video/3gpp": (Kind.VIDEO, 16 * _MIB),
    "audio/mpeg": (Kind.AUDIO, 16 * _MIB),
    "audio/mp4": (Kind.AUDIO, 16 * _MIB),
    "audio/ogg": (Kind.AUDIO, 16 * _MIB),
    "audio/aac": (Kind.AUDIO, 16 * _MIB),
    "audio/amr": (Kind.AUDIO, 16 * _MIB),
}
_VOICE: Final = Sniffed("audio/ogg", sniff.AUDIO)


class FileRefused(ChatError):
    """The file cannot be sent; its `code` says why, and nothing was kept."""

    def __init__(self, reason: str) -> None:
        words = in_words(reason)
        super().__init__(words["en"] if words else f"The file was refused ({reason}). Attach another one.")
        self.code = reason
        self.status = 413 if reason == errors.TOO_BIG else 400


class FilesAway(ChatError):
    """The storage of files does not answer; nothing was kept, and the same upload later may work."""

    code = errors.STORAGE_AWAY
    status = 503


def keep(
    user: User, tenant_id: UUID, chunks: Iterable[bytes], file_name: str = "", *, voice: bool = False
) -> MessageAttachment:
    """Take a file in for a message that is yet to be written. Blocking, and bounded in memory.

    Args:
        file_name: as the person's machine calls it.
        voice: it is meant as a voice message; what is no Ogg/Opus is converted where ffmpeg is there, and else goes as
            a sound to listen to, which `reason` then says.

    Raises:
        FileRefused: empty, too big, a type we do not send, or damaged.
        FilesAway: the storage does not answer.
    """
    try:
        with store.Incoming(tenant_id, settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES) as file:
            for chunk in chunks:
                file.write(chunk)
            what = sniff.check(file.head, Kind.VOICE if voice else Kind.DOCUMENT, file_name)
            if voice and not _is_opus(file.head):
                spoken = _converted(file, what)
                if spoken is not None:
                    return _kept_voice(user, tenant_id, spoken, file_name)
            kind = Kind.VOICE if voice and _is_opus(file.head) else _kind(what, file.size)
            reason = VOICE_NOT_CONVERTED if voice and kind != Kind.VOICE else ""
            return _kept(user, file, what, tenant_id, names.clean(file_name), kind, reason)
    except MediaRefused as refused:
        raise FileRefused(refused.reason) from None
    except StorageAway as away:
        logger.warning("an upload was not kept", extra={"cause": away.cause})
        raise FilesAway("The storage of files does not answer. Nothing was kept; try again.") from None


def _kind(what: Sniffed, size: int) -> str:
    kind, longest = _IN_PLACE.get(what.mime, (Kind.DOCUMENT, 0))
    return kind if size <= longest else Kind.DOCUMENT


def _is_opus(head: bytes) -> bool:
    return head.startswith(b"OggS") and b"OpusHead" in head[:256]


def _converted(file: store.Incoming, what: Sniffed) -> bytes | None:
    """The sound as WhatsApp wants voice messages; None where nothing here can make that."""
    if not ffmpeg.available():
        return None
    try:
        return ffmpeg.to_voice(file.complete(), what.mime)
    except ffmpeg.FfmpegFailed as error:
        logger.info("a voice message was not converted", extra={"mime": what.mime, "error": str(error)})
        return None


def _kept_voice(user: User, tenant_id: UUID, spoken: bytes, file_name: str) -> MessageAttachment:
    with store.Incoming(tenant_id, settings.CHAT_MEDIA_MAX_AUDIO_BYTES) as file:
        file.write(spoken)
        stem = names.clean(file_name).rpartition(".")[0]
        return _kept(user, file, _VOICE, tenant_id, f"{stem or 'voice'}.ogg", Kind.VOICE)


def _kept(
    user: User,
    file: store.Incoming,
    what: Sniffed,
    tenant_id: UUID,
    file_name: str,
    kind: str,
    reason: str = "",
) -> MessageAttachment:
    look = thumbs.look(file.complete(), what)
    kept = file.keep()
    small = store.keep(tenant_id, [look.thumbnail], _THUMBNAIL_LONGEST).name if look.thumbnail else ""
    row = MessageAttachment.objects.create(
        tenant_id=tenant_id,
        uploaded_by=user,
        kind=kind,
        status=MessageAttachment.Status.COMPLETED,
        reason=reason,
        mime_type=what.mime,
        file_name=file_name,
        size=kept.size,
        sha256=kept.sha256,
        file=kept.name,
        thumbnail=small,
        width=look.width,
        height=look.height,
        duration_ms=look.duration_ms,
        waveform=look.waveform,
        completed_at=Now(),
    )
    row.refresh_from_db(fields=["completed_at", "created_at"])
    return row


def forget_unused() -> int:
    """Forget uploads that no message took within a day; how many. Their bytes stay, others may share them."""
    unused = MessageAttachment.objects.filter(
        message__isnull=True, uploaded_by__isnull=False, created_at__lt=Now() - UNUSED_FOR
    )
    return unused.delete()[0]
