from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.chat import media_queue
from apps.chat.models import Conversation
from apps.chat.tests.media.world import Evolution, make_conversation


@pytest.fixture
def evolution() -> Iterator[Evolution]:
    made = Evolution()
    yield made
    made.close()


@pytest.fixture
def conversation(transactional_db: None, evolution: Evolution) -> Conversation:
    return make_conversation(evolution.url)


@pytest.fixture(autouse=True)
def _own_storage(tmp_path: Path, settings: Any) -> Iterator[None]:
    """Each test keeps its files in a directory of its own."""
    from django.core.files.storage import storages

    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "storage"},
        },
    }
    assert storages is not None
    yield
    media_queue.stop(5)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the browsers are told about attachments."""
    from apps.chat.media import claims

    found: list[dict[str, Any]] = []
    monkeypatch.setattr(claims, "publish", lambda tenant, event: found.append(event))
    return found
