"""One function per fault. The numbers are those of the list of reliability."""

from __future__ import annotations


def load() -> None:
    """Fill the registry."""
    from drill.scenarios import clocks, databases, instances, people, provider, redis, workers  # noqa: F401
