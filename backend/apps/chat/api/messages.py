"""Messages: write one, look at it, and decide about one that is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import actions, attaching, deciding, lookups
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.parsing import checked
from apps.chat.api.rows import shown, shown_all
from apps.chat.api.timeline import timeline
from apps.chat.models import Conversation, Delivery, Message
from apps.chat.realtime.shapes import message_json
from apps.tenancy.models import User

_WRITTEN = {200: schemas.Written, 201: schemas.Written, 400: schemas.Problem, 409: schemas.Problem}


def write(user: User, conversation: Conversation, wanted: Mapping[str, Any]) -> Response:
    """Accept a message: 201 when it is new, 200 when its client_message_id was here before."""
    if wanted.get("attachments"):
        return _write_files(user, conversation, wanted)
    message, created = actions.send_message(
        user,
        conversation,
        wanted["content"],
        wanted.get("client_message_id"),
        wanted.get("reply_to"),
    )
    return Response(shown_new(message) if created else shown(message), status=201 if created else 200)


def _write_files(user: User, conversation: Conversation, wanted: Mapping[str, Any]) -> Response:
    """The first message, and all of them as `messages`."""
    messages, created = attaching.send_files(
        user,
        conversation,
        wanted["content"],
        wanted["attachments"],
        wanted.get("client_message_id"),
        wanted.get("reply_to"),
    )
    rows = shown_all(messages)
    return Response({**rows[0], "messages": rows}, status=201 if created else 200)


def shown_new(message: Message) -> dict[str, Any]:
    """A message that was just accepted: what it says is known without a query."""
    return message_json(message, Delivery())


class MessageViews(ChatViews):
    """`messages/` and what can be done with one."""

    @extend_schema(request=schemas.MessageCreate, responses=_WRITTEN)
    def create(self, request: Request) -> Response:
        """Send a message. The same `client_message_id` again answers the same message and sends nothing."""
        wanted = checked(schemas.MessageCreate, request.data)
        conversation = lookups.conversation_to_write_in(self.tenants, wanted["conversation"])
        return write(self.user, conversation, wanted)

    @extend_schema(responses=schemas.Message)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One message, with its place in the queue while it waits."""
        return Response(shown(lookups.message_of(self.tenants, pk)))

    @extend_schema(request=schemas.RetrySend, responses=schemas.Message)
    def retry_send(self, request: Request, pk: UUID) -> Response:
        """Send a failed message once more, at the end of its conversation's queue."""
        wanted = checked(schemas.RetrySend, request.data)
        message = lookups.message_of(self.tenants, pk)
        delivery = deciding.retry(message, wanted.get("failure_gen"))
        return Response(shown(message, delivery))

    @extend_schema(request=None, responses=schemas.CancelledMessage)
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Stop a message: `stopped`, `stopped_maybe` (an earlier try may have gone out) or `pending`."""
        message = lookups.message_of(self.tenants, pk)
        result = deciding.cancel(message)
        return Response({**shown(message), "result": result})

    @extend_schema(request=schemas.Edit, responses=schemas.Message)
    def edit(self, request: Request, pk: UUID) -> Response:
        """Change the text of a message that has not left yet."""
        wanted = checked(schemas.Edit, request.data)
        deciding.edit(lookups.message_of(self.tenants, pk), wanted["content"])
        return Response(shown(lookups.message_of(self.tenants, pk)))

    @extend_schema(request=None, responses={200: schemas.CancelledMessage, 409: schemas.Problem})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Take back a message that has not left yet."""
        message = lookups.message_of(self.tenants, pk)
        result = deciding.delete(message)
        return Response({**shown(message), "result": result})

    @extend_schema(request=schemas.Release, responses=schemas.Message)
    def release(self, request: Request, pk: UUID) -> Response:
        """Decide about a held message: send it although an earlier try may have gone out, or discard it."""
        wanted = checked(schemas.Release, request.data)
        message = lookups.message_of(self.tenants, pk)
        deciding.release(message, send=wanted["action"] == "send")
        return Response(shown(message))

    @extend_schema(responses=schemas.Timeline)
    def timeline(self, request: Request, pk: UUID) -> Response:
        """Everything that befell the message, by time."""
        message = lookups.message_of(self.tenants, pk)
        return Response({"message": shown(message), "results": timeline(message)})
