"""Reactions: one emoji of our number on a message, put there and taken away."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import lookups, reacting
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.parsing import checked
from apps.chat.api.rows import reactions_of
from apps.chat.models import Message
from apps.chat.realtime.shapes import reactions_json

_ANSWERS = {
    200: schemas.Reactions,
    201: schemas.Reactions,
    400: schemas.Problem,
    404: schemas.Problem,
    409: schemas.Problem,
}


class ReactionViews(ChatViews):
    """`reactions/add/` and `reactions/remove/`."""

    @extend_schema(request=schemas.ReactionAdd, responses=_ANSWERS)
    def add(self, request: Request) -> Response:
        """React to a message: 201 when that is sent, 200 when the message carries this emoji of ours already."""
        wanted = checked(schemas.ReactionAdd, request.data)
        message = lookups.message_of(self.tenants, wanted["message"])
        changed = reacting.react(self.user, message, wanted["emoji"])
        return _answer(message, changed=changed)

    @extend_schema(request=schemas.ReactionRemove, responses=_ANSWERS)
    def remove(self, request: Request) -> Response:
        """Take our reaction back: 201 when that is sent, 200 when there is none."""
        wanted = checked(schemas.ReactionRemove, request.data)
        message = lookups.message_of(self.tenants, wanted["message"])
        return _answer(message, changed=reacting.take_back(self.user, message))


def _answer(message: Message, *, changed: bool) -> Response:
    rows = reactions_of([message]).get(message.pk, ())
    body = {"message": str(message.pk), "reactions": reactions_json(rows)}
    return Response(body, status=201 if changed else 200)
