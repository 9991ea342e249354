"""RABBITMQ_URL: checked at start, shown without its password."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured


def checked(url: str, name: str) -> str:
    """The URL when it is usable; empty stays empty.

    Raises:
        ImproperlyConfigured: it is no AMQP URL. The sentence does not quote it, for it holds a password.
    """
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise ImproperlyConfigured(
            f"{name} must look like amqp://user:password@host:5672/vhost (or amqps://…)."
        )
    return url


def address(url: str) -> str:
    """Host, port and virtual host: fit for logs and people."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname}:{port}{parts.path if parts.path not in ('', '/') else ''}"
