"""A picture is copied, not linked: WhatsApp's address expires, and would tell it who looks at whom."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Final

from django.conf import settings

from apps.chat.enrichment import facts
from apps.chat.enrichment.cases import Case
from apps.chat.enrichment.database import call
from apps.chat.enrichment.errors import GivenUp, TryAgain
from apps.chat.media import sniff, store
from apps.chat.media.errors import MediaRefused, StorageAway
from apps.chat.media.fetch import FetchFailed, FetchRefused, fetch, place_of

FETCH_SECONDS: Final = 20.0
MOST_PIXELS: Final = 25_000_000
TYPES: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}


async def copy(case: Case, url: str) -> bool:
    """Fetch the picture, check that it is one, keep it, and show it; whether it is a new one.

    Raises:
        TryAgain: it did not come, or the storage did not take it.
        GivenUp: the address is not one we go to, or there is no picture at it.
    """
    content = await _fetched(case, url)
    try:
        mime = await asyncio.to_thread(check, content)
        kept = await asyncio.to_thread(store.keep, case.tenant_id, [content], settings.CHAT_PICTURE_MAX_BYTES)
    except MediaRefused as refused:
        raise GivenUp(refused.reason) from None
    except StorageAway:
        raise TryAgain("media_storage_away") from None
    return await call(lambda: facts.set_picture(case.contact_id, kept.name, kept.sha256, mime))


async def _fetched(case: Case, url: str) -> bytes:
    try:
        found = await fetch(
            url,
            max_bytes=settings.CHAT_PICTURE_MAX_BYTES,
            timeout=FETCH_SECONDS,
            allow_hosts=[place_of(case.ref.base_url)],
        )
    except FetchRefused as refused:
        raise GivenUp(f"picture_{refused.reason}") from None
    except FetchFailed as failed:
        raise TryAgain(f"picture_{failed.reason}") from None
    return found.content


def check(content: bytes) -> str:
    """The MIME type of a picture, by its bytes.

    Raises:
        MediaRefused: it is no picture that browsers show, is damaged, or would unfold into too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    mime = sniff.check(content[: sniff.HEAD], sniff.IMAGE).mime
    if mime not in TYPES:
        raise MediaRefused("media_type_refused")
    try:
        with Image.open(BytesIO(content), formats=[TYPES[mime]]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise MediaRefused("media_too_many_pixels")
            image.verify()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        raise MediaRefused("media_damaged") from None
    return mime
