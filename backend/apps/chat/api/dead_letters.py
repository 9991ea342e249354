"""Dead letters: messages that failed for good, until a person sends them again or gives them up.

A dead letter goes by its message's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import deciding, lookups
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews, id_param, text_param
from apps.chat.api.pagination import page
from apps.chat.api.parsing import checked
from apps.chat.api.rows import shown
from apps.chat.delivery.dead_letters import forgetting_together
from apps.chat.errors import Conflict, NotFound
from apps.chat.models import Delivery
from apps.chat.realtime.shapes import SEND_KINDS, message_json, reason_text, stamp

_SECRETS = ("message__conversation__instance__api_key", "message__conversation__instance__webhook_secret")
_FILTERS = [
    OpenApiParameter("reason", str),
    OpenApiParameter("instance", str),
    OpenApiParameter("conversation", str),
    OpenApiParameter("cursor", str),
    OpenApiParameter("limit", int),
]


class DeadLetterViews(ChatViews):
    """`dead-letters/` and what can be done with them."""

    @extend_schema(parameters=_FILTERS, responses=schemas.DeadLetterPage)
    def list(self, request: Request) -> Response:
        """Failed messages, the latest failure first."""
        rows = self._failed()
        if reason := text_param(request, "reason"):
            rows = rows.filter(reason=reason)
        if instance := id_param(request, "instance"):
            rows = rows.filter(instance_id=instance)
        if conversation := id_param(request, "conversation"):
            rows = rows.filter(conversation_id=conversation)
        return Response(page(request, rows, "finished_at", id_type=int).answer(_shape))

    @extend_schema(responses=schemas.DeadLetter)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One failed message."""
        found = self._failed().filter(message_id=pk).first()
        if found is None:
            raise NotFound("There is no such dead letter.")
        return Response(_shape(found))

    @extend_schema(request=schemas.RetrySend, responses=schemas.Message)
    def replay(self, request: Request, pk: UUID) -> Response:
        """Send it once more, at the end of its conversation's queue."""
        wanted = checked(schemas.RetrySend, request.data)
        message = lookups.message_of(self.tenants, pk)
        delivery = deciding.retry(message, wanted.get("failure_gen"))
        return Response(shown(message, delivery))

    @extend_schema(request=schemas.RetrySend, responses=schemas.Message)
    def discard(self, request: Request, pk: UUID) -> Response:
        """Give it up: it leaves this list and stays in the conversation as cancelled."""
        wanted = checked(schemas.RetrySend, request.data)
        message = lookups.message_of(self.tenants, pk)
        deciding.discard(message, wanted.get("failure_gen"))
        return Response(shown(message))

    @extend_schema(
        operation_id="chat_dead_letters_replay_many", request=schemas.BulkReplay, responses=schemas.BulkResult
    )
    def replay_many(self, request: Request) -> Response:
        """Send all that match once more, the oldest failure first; `dry_run` only says which they are."""
        wanted = checked(schemas.BulkReplay, request.data)
        matching = self._matching(wanted)
        chosen = list(matching.order_by("conversation_id", "seq")[: wanted["limit"]])
        with forgetting_together():
            replayed = [] if wanted["dry_run"] else [row.message_id for row in chosen if _replayed(row)]
        return Response(
            {
                "dry_run": wanted["dry_run"],
                "matched": matching.count() if wanted["dry_run"] else len(chosen),
                "replayed": len(replayed),
                "skipped": 0 if wanted["dry_run"] else len(chosen) - len(replayed),
                "ids": [row.message_id for row in chosen] if wanted["dry_run"] else replayed,
            }
        )

    def _failed(self) -> QuerySet[Delivery]:
        rows = Delivery.objects.filter(
            tenant_id__in=self.tenants, state=Delivery.State.FAILED, kind__in=SEND_KINDS
        )
        related = ("message__sender", "message__conversation__contact", "message__conversation__instance")
        return rows.select_related(*related).defer(*_SECRETS)

    def _matching(self, wanted: Mapping[str, Any]) -> QuerySet[Delivery]:
        rows = self._failed()
        if "ids" in wanted:
            rows = rows.filter(message_id__in=wanted["ids"])
        if wanted.get("reason"):
            rows = rows.filter(reason=wanted["reason"])
        if wanted.get("instance"):
            rows = rows.filter(instance_id=wanted["instance"])
        if wanted.get("conversation"):
            rows = rows.filter(conversation_id=wanted["conversation"])
        return rows


def _replayed(row: Delivery) -> bool:
    """False when somebody was faster."""
    try:
        deciding.retry(row.message, row.failure_gen)
    except (Conflict, NotFound):
        return False
    return True


def _shape(row: Delivery) -> dict[str, Any]:
    conversation = row.message.conversation
    contact, instance = conversation.contact, conversation.instance
    return {
        "id": str(row.message_id),
        "message": message_json(row.message, row),
        "contact": {"id": str(contact.pk), "name": contact.name, "phone": contact.phone},
        "instance": {"id": str(instance.pk), "name": instance.name, "connection": instance.connection},
        "reason": row.reason,
        "reason_text": reason_text(row.reason),
        "attempts": row.attempts,
        "failure_gen": row.failure_gen,
        "failed_at": stamp(row.finished_at),
    }
