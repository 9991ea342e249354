"""Links to files: signed, for one tenant's attachment, for an hour or two.

Whoever has the link has the file, so that a browser can show it in an `<img>`; the link ends soon, names nothing but
this file, and is the same for an hour, so that browsers can keep what they fetched.
"""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.utils.crypto import constant_time_compare

CONTENT: Final = "content"
THUMBNAIL: Final = "thumbnail"
_SALT: Final = "chat.attachment"
_PATH: Final = "/api/chat/attachments/{}/{}/?t={}"


class LinkExpired(Exception):
    """The signature is ours, its time is over."""


class LinkForged(Exception):
    """The signature is not ours, or of another file."""


def link(attachment_id: UUID, tenant_id: UUID, part: str) -> str:
    """The path of a file (CONTENT) or its small picture (THUMBNAIL), good for at least CHAT_MEDIA_URL_SECONDS."""
    span = settings.CHAT_MEDIA_URL_SECONDS
    until = (int(time.time()) // span + 2) * span
    return _PATH.format(attachment_id, part, f"{until}.{_signature(attachment_id, tenant_id, part, until)}")


def check(token: str, attachment_id: UUID, tenant_id: UUID, part: str) -> int:
    """How many seconds the link still holds. Raises LinkForged and LinkExpired."""
    until, _, given = token.partition(".")
    if not until.isascii() or not until.isdigit() or len(until) > 12:
        raise LinkForged
    expected = _signature(attachment_id, tenant_id, part, int(until))
    if not constant_time_compare(given, expected):
        raise LinkForged
    left = int(until) - int(time.time())
    if left <= 0:
        raise LinkExpired
    return left


def _signature(attachment_id: UUID, tenant_id: UUID, part: str, until: int) -> str:
    return signing.Signer(salt=_SALT).signature(f"{tenant_id}/{attachment_id}/{part}/{until}")
