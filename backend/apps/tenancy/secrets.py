"""Credentials at rest: sealed with Fernet (AES-CBC + HMAC), opened only where they are used.

Keys come from CHAT_SECRETS_KEYS (the first seals, all open, so that keys can be rotated) or, when that is empty,
are derived from SECRET_KEY.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


class SecretUnreadable(Exception):
    """A sealed value cannot be opened with the keys we have: SECRET_KEY or CHAT_SECRETS_KEYS changed."""


def _key(text: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"alrea.secrets:" + text.encode()).digest())


@lru_cache(maxsize=1)
def _box() -> MultiFernet:
    texts = [*settings.CHAT_SECRETS_KEYS, settings.SECRET_KEY]
    if not all(texts):
        raise ImproperlyConfigured("CHAT_SECRETS_KEYS must be random texts, separated by commas.")
    return MultiFernet([Fernet(_key(text)) for text in texts])


def seal(text: str) -> str:
    """`text`, encrypted and authenticated, as ASCII."""
    return _box().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text that was sealed.

    Raises:
        SecretUnreadable: none of the keys opens it.
    """
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable(
            "a stored credential cannot be opened: check SECRET_KEY / CHAT_SECRETS_KEYS"
        ) from None


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class SealedTextField(_TextField):
    """A text that is sealed in the database and plain on the model instance."""

    def get_prep_value(self, value: Any) -> Any:
        return seal(value) if value else ""

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str:
        return unseal(value) if value else ""
