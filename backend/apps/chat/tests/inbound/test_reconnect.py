"""When a number opens again, the files that waited for it are due at once; nobody else's are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.chat.media import claims, patience
from apps.chat.models import Instance, Message, MessageAttachment

from .conftest import Body, make_instance, message_body

Apply = Callable[..., str]
Status = MessageAttachment.Status


def link(state: str) -> Body:
    return {"event": "connection.update", "instance": "lab", "data": {"state": state}}


@pytest.fixture
def waiting(apply: Apply, instance: Instance) -> MessageAttachment:
    """A file whose number was away when it was asked for: due in five minutes."""
    apply(message_body("A1", "foto"))
    return make_waiting(Message.objects.get())


def make_waiting(message: Message, **values: Any) -> MessageAttachment:
    given: dict[str, Any] = {
        "status": Status.PENDING,
        "reason": patience.AWAY,
        "source": {"id": message.provider_id, "remote_jid": "x", "from_me": False},
        "wake_at": timezone.now() + timedelta(seconds=300),
    }
    return MessageAttachment.objects.create(
        tenant_id=message.tenant_id, message=message, **{**given, **values}
    )


def due() -> list[Any]:
    return [pk for pk, _ in claims.due(10)]


def test_what_waited_for_the_number_is_due_when_it_opens(apply: Apply, waiting: MessageAttachment) -> None:
    apply(link("close"), datetime(2026, 11, 21, 12, 0, 1, tzinfo=UTC))
    assert due() == []
    assert apply(link("open"), datetime(2026, 11, 21, 12, 0, 2, tzinfo=UTC)) == "connection open"
    assert due() == [waiting.pk]


def test_open_said_again_after_a_restart_counts(
    apply: Apply, instance: Instance, waiting: MessageAttachment
) -> None:
    Instance.objects.filter(pk=instance.pk).update(connection="open")
    apply(link("open"))
    assert due() == [waiting.pk]


def test_an_open_that_was_overtaken_does_not(apply: Apply, waiting: MessageAttachment) -> None:
    apply(link("close"), datetime(2026, 11, 21, 12, 0, 9, tzinfo=UTC))
    assert apply(link("open"), datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)) == "ignored: overtaken"
    assert due() == []


@pytest.mark.parametrize(
    "values",
    [
        {"reason": "media_download_failed"},
        {"reason": "media_storage_away"},
        {"status": Status.PROCESSING},
        {"status": Status.FAILED},
    ],
)
def test_what_waits_for_something_else_goes_on_waiting(
    apply: Apply, waiting: MessageAttachment, values: dict[str, str]
) -> None:
    MessageAttachment.objects.filter(pk=waiting.pk).update(**values)
    apply(link("open"))
    assert due() == []


def test_another_numbers_files_go_on_waiting(apply: Apply, waiting: MessageAttachment) -> None:
    other = make_instance(waiting.tenant, "elsewhere")
    Message.objects.filter(pk=waiting.message_id).update(instance=other)
    apply(link("open"))
    assert due() == []
