"""Conversations: list, look, start, read, assign, close, reopen; and the messages in one."""

from __future__ import annotations

import re
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import actions, lookups
from apps.chat.api import schemas
from apps.chat.api.base import ChatViews, choice_param, id_param, text_param
from apps.chat.api.messages import write
from apps.chat.api.pagination import page
from apps.chat.api.parsing import checked
from apps.chat.api.rows import shown_all
from apps.chat.enrichment import asking
from apps.chat.errors import QueueAway
from apps.chat.models import Contact, Conversation, Instance, Message
from apps.chat.realtime.shapes import conversation_json

_CURSOR = [OpenApiParameter("cursor", str), OpenApiParameter("limit", int)]
_FILTERS = [
    OpenApiParameter("status", str, enum=Conversation.Status.values),
    OpenApiParameter("assigned_to", str, description="A user's id, `me` or `none`."),
    OpenApiParameter("conversation_type", str, enum=Contact.Kind.values),
    OpenApiParameter("instance", OpenApiTypes.UUID),
    OpenApiParameter("unread", bool, description="`true`: only those with unread messages."),
    OpenApiParameter("search", str, description="In the contact's name or number."),
    *_CURSOR,
]

# What `conversation_json` reads: a third of the columns of four tables.
_SHOWN = (
    *(
        "tenant",
        "status",
        "assigned_to",
        "unread_count",
        "last_message_at",
        "last_message_preview",
        "created_at",
    ),
    *(
        f"contact__{name}"
        for name in ("kind", "name", "phone", "picture", "picture_sha256", "description", "members")
    ),
    *("instance__name", "instance__connection"),
    *("assigned_to__first_name", "assigned_to__last_name", "assigned_to__email"),
)


class ConversationViews(ChatViews):
    """`conversations/` and what can be done with one."""

    @extend_schema(parameters=_FILTERS, responses=schemas.ConversationPage)
    def list(self, request: Request) -> Response:
        """Conversations, the latest message first."""
        rows = Conversation.objects.filter(tenant_id__in=self.tenants)
        rows = rows.select_related("contact", "instance", "assigned_to").only(*_SHOWN)
        found = page(request, self._filtered(request, rows), "last_message_at", id_type=UUID)
        return Response(found.answer(conversation_json))

    @extend_schema(responses=schemas.Conversation)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One conversation."""
        return Response(conversation_json(lookups.conversation_of(self.tenants, pk)))

    @extend_schema(
        request=schemas.ConversationStart,
        responses={200: schemas.Conversation, 201: schemas.Conversation},
    )
    def start(self, request: Request) -> Response:
        """The conversation with a phone number: 201 when it is new, 200 when it existed."""
        wanted = checked(schemas.ConversationStart, request.data)
        tenant, instance = self._speaker(wanted.get("instance_id"), wanted.get("tenant"))
        conversation, is_new = actions.start_conversation(tenant, wanted["contact_phone"], instance)
        return Response(conversation_json(conversation), status=201 if is_new else 200)

    @extend_schema(
        methods=["GET"],
        parameters=[*_CURSOR, OpenApiParameter("order", str, enum=["desc", "asc"])],
        responses=schemas.MessagePage,
    )
    def messages(self, request: Request, pk: UUID) -> Response:
        """The conversation's messages, the newest first (`order=asc`: the oldest first)."""
        conversation = lookups.conversation_of(self.tenants, pk)
        rows = Message.objects.filter(conversation_id=conversation.pk).select_related("sender")
        rising = choice_param(request, "order", ["desc", "asc"]) == "asc"
        found = page(request, rows, "sort_at", newest_first=not rising, id_type=UUID)
        return Response({**found.answer(lambda row: row), "results": shown_all(found.rows)})

    @extend_schema(
        methods=["POST"],
        request=schemas.MessageWrite,
        responses={200: schemas.Message, 201: schemas.Message},
    )
    def write(self, request: Request, pk: UUID) -> Response:
        """Send a message in this conversation."""
        wanted = checked(schemas.MessageWrite, request.data)
        return write(self.user, lookups.conversation_to_write_in(self.tenants, pk), wanted)

    @extend_schema(request=schemas.MarkAsRead, responses=schemas.Conversation)
    def mark_as_read(self, request: Request, pk: UUID) -> Response:
        """Mark the customer's messages read, all or up to one, and send the receipt to WhatsApp."""
        wanted = checked(schemas.MarkAsRead, request.data)
        conversation = lookups.conversation_of(self.tenants, pk)
        return Response(conversation_json(actions.mark_as_read(conversation, wanted.get("message_id"))))

    @extend_schema(request=schemas.Assign, responses=schemas.Conversation)
    def assign(self, request: Request, pk: UUID) -> Response:
        """Give the conversation to a member of the team, to nobody (null), or take it (no body)."""
        wanted = checked(schemas.Assign, request.data)
        conversation = lookups.conversation_of(self.tenants, pk)
        user_id = wanted.get("user_id", self.user.pk)
        user = actions.check_assignee(conversation, user_id) if user_id else None
        return Response(conversation_json(actions.assign(conversation, user)))

    @extend_schema(request=None, responses=schemas.Conversation)
    def close(self, request: Request, pk: UUID) -> Response:
        """Put the conversation away; the customer's next message brings it back."""
        return Response(conversation_json(actions.close(lookups.conversation_of(self.tenants, pk))))

    @extend_schema(request=None, responses=schemas.Conversation)
    def reopen(self, request: Request, pk: UUID) -> Response:
        """Take the conversation up again."""
        return Response(conversation_json(actions.reopen(lookups.conversation_of(self.tenants, pk))))

    @extend_schema(request=None, responses={202: schemas.Refreshing})
    def refresh_info(self, request: Request, pk: UUID) -> Response:
        """Ask WhatsApp anew for the contact's picture and name, or the group's card. Answers before WhatsApp does."""
        conversation = lookups.conversation_of(self.tenants, pk)
        answers = asking.refresh(conversation)
        by = {word: [kind for kind, answer in answers.items() if answer == word] for word in asking.ANSWERS}
        if by[asking.AWAY]:
            raise QueueAway("Nothing was asked for: the queue is away. Try again in a minute.")
        told = {"queued": by[asking.QUEUED], "asked": by[asking.ASKED], "refused": by[asking.FULL]}
        return Response({"conversation": str(conversation.pk), **told}, status=202)

    def _speaker(self, instance_id: UUID | None, tenant_id: UUID | None) -> tuple[UUID, Instance | None]:
        """Which tenant starts a conversation, and from which of its numbers if that was said."""
        if instance_id is not None:
            instance = Instance.objects.filter(pk=instance_id, tenant_id__in=self.tenants).first()
            if instance is None:
                raise ValidationError({"instance_id": "There is no such instance."})
            return instance.tenant_id, instance
        if tenant_id is None and len(self.tenants) == 1:
            return next(iter(self.tenants)), None
        if tenant_id not in self.tenants or tenant_id is None:
            raise ValidationError({"tenant": "Say which of your tenants, or name an instance_id."})
        return tenant_id, None

    def _filtered(self, request: Request, rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
        if status := choice_param(request, "status", Conversation.Status.values):
            rows = rows.filter(status=status)
        if kind := choice_param(request, "conversation_type", Contact.Kind.values):
            rows = rows.filter(contact__kind=kind)
        if instance := id_param(request, "instance"):
            rows = rows.filter(instance_id=instance)
        if tenant := id_param(request, "tenant"):
            rows = rows.filter(tenant_id=tenant)
        if choice_param(request, "unread", ["true", "false"]) == "true":
            rows = rows.filter(unread_count__gt=0)
        return self._searched(request, self._assigned(request, rows))

    def _assigned(self, request: Request, rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
        wanted = text_param(request, "assigned_to")
        if wanted == "me":
            return rows.filter(assigned_to_id=self.user.pk)
        if wanted == "none":
            return rows.filter(assigned_to__isnull=True)
        assigned = id_param(request, "assigned_to")
        return rows.filter(assigned_to_id=assigned) if assigned else rows

    @staticmethod
    def _searched(request: Request, rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
        wanted = text_param(request, "search")[:100]
        if not wanted:
            return rows
        matches = Q(contact__name__icontains=wanted)
        digits = re.sub(r"\D", "", wanted)
        if digits and not re.search(r"[^\W\d_]", wanted):
            matches |= Q(contact__phone__contains=digits)
        return rows.filter(matches)
