"""The file that a journalled webhook carries itself: read while it is fetched, taken out once it is kept.

The journal stays for days, and the base64 of a film would stay in it beside the film. A webhook without it is applied
as before: the message's attachment is there already, and one that is made anew is fetched from Evolution.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Func, JSONField
from django.db.models.expressions import Combinable

from apps.chat.media import errors
from apps.chat.media.errors import MediaRefused
from apps.chat.models import MessageAttachment, WebhookEvent


class _WithoutFile(Func):
    """A body without `data.message.base64`."""

    output_field = JSONField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s #- '{data,message,base64}')", **extra
        )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="json_remove(%(expressions)s, '$.data.message.base64')", **extra
        )


def text_of(event_id: int) -> str:
    """The base64 text of a journalled webhook, and nothing else of it; raises MediaRefused when it has none."""
    found = (
        WebhookEvent.objects.filter(pk=event_id).values_list("body__data__message__base64", flat=True).first()
    )
    if not isinstance(found, str) or not found:
        raise MediaRefused(errors.EMPTY)
    return found


def take_out(row: MessageAttachment) -> bool:
    """Leave the file out of the webhook that carried it; whether there was one. Call it when the file is kept."""
    event_id = (row.source or {}).get("event")
    if event_id is None or row.message is None:
        return False
    carrying = WebhookEvent.objects.filter(
        pk=event_id, instance_id=row.message.instance_id, body__data__message__has_key="base64"
    )
    body: Combinable = _WithoutFile("body")
    return bool(carrying.update(body=body))
