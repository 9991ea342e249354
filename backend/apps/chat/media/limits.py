"""How large a file may be, by kind."""

from __future__ import annotations

from django.conf import settings

IMAGE, VIDEO, AUDIO, VOICE, DOCUMENT, STICKER = "image", "video", "audio", "voice", "document", "sticker"
KINDS = (IMAGE, VIDEO, AUDIO, VOICE, DOCUMENT, STICKER)


def max_bytes(kind: str) -> int:
    """The most bytes a file of this kind may have; an unknown kind is a document."""
    caps: dict[str, int] = {
        IMAGE: settings.CHAT_MEDIA_MAX_IMAGE_BYTES,
        VIDEO: settings.CHAT_MEDIA_MAX_VIDEO_BYTES,
        AUDIO: settings.CHAT_MEDIA_MAX_AUDIO_BYTES,
        VOICE: settings.CHAT_MEDIA_MAX_AUDIO_BYTES,
        STICKER: settings.CHAT_MEDIA_MAX_STICKER_BYTES,
    }
    return caps.get(kind, settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES)
