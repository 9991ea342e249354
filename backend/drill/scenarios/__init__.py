"""One function per fault. The numbers are those of the list of reliability."""

from __future__ import annotations


def load() -> None:
    """Fill the registry."""
    from drill.scenarios import (  # noqa: F401
        browsers,
        clocks,
        databases,
        files,
        instances,
        lists,
        mixture,
        people,
        provider,
        redis,
        releases,
        workers,
    )
