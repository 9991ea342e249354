"""Addresses under /api/chat/."""

from __future__ import annotations

from django.urls import URLPattern, path, register_converter

from apps.chat import webhooks
from apps.chat.api.attachments import AttachmentViews
from apps.chat.api.conversations import ConversationViews
from apps.chat.api.dead_letters import DeadLetterViews
from apps.chat.api.instances import InstanceViews
from apps.chat.api.login import TicketViews
from apps.chat.api.merges import MergeViews
from apps.chat.api.messages import MessageViews
from apps.chat.api.pictures import PictureViews
from apps.chat.api.queues import QueueViews
from apps.chat.api.reactions import ReactionViews
from apps.chat.api.uploads import UploadViews

app_name = "chat"

_CONVERSATION = "conversations/<uuid:pk>/"
_MESSAGE = "messages/<uuid:pk>/"
_INSTANCE = "instances/<uuid:pk>/"
_DEAD_LETTER = "dead-letters/<uuid:pk>/"
_ATTACHMENT = "attachments/<uuid:pk>/"
_WEBHOOK = "webhooks/evolution/<uuid:instance_id>"


class EventName:
    """What Evolution puts behind a webhook's URL: nothing, or an event's name with any slashes around it.

    It joins the two by plain concatenation, so that "…/<id>/" gives "…/<id>//messages-upsert". A 404 for any of these
    spellings would lose the event for good.
    """

    regex = r"/+[^/]*/*"

    def to_python(self, value: str) -> str:
        return value.strip("/")

    def to_url(self, value: str) -> str:
        return f"/{value}/" if value else "/"


register_converter(EventName, "event_name")

urlpatterns: list[URLPattern] = [
    path("conversations/", ConversationViews.as_view({"get": "list"})),
    path("conversations/start/", ConversationViews.as_view({"post": "start"})),
    path(_CONVERSATION, ConversationViews.as_view({"get": "retrieve"})),
    path(_CONVERSATION + "messages/", ConversationViews.as_view({"get": "messages", "post": "write"})),
    path(_CONVERSATION + "mark_as_read/", ConversationViews.as_view({"post": "mark_as_read"})),
    path(_CONVERSATION + "assign/", ConversationViews.as_view({"post": "assign"})),
    path(_CONVERSATION + "close/", ConversationViews.as_view({"post": "close"})),
    path(_CONVERSATION + "reopen/", ConversationViews.as_view({"post": "reopen"})),
    path(_CONVERSATION + "refresh-info/", ConversationViews.as_view({"post": "refresh_info"})),
    path("contacts/<uuid:pk>/picture/", PictureViews.as_view({"get": "retrieve"})),
    path("messages/", MessageViews.as_view({"post": "create"})),
    path(_MESSAGE, MessageViews.as_view({"get": "retrieve"})),
    path(_MESSAGE + "retry-send/", MessageViews.as_view({"post": "retry_send"})),
    path(_MESSAGE + "cancel/", MessageViews.as_view({"post": "cancel"})),
    path(_MESSAGE + "edit/", MessageViews.as_view({"post": "edit", "patch": "edit"})),
    path(_MESSAGE + "delete/", MessageViews.as_view({"post": "delete", "delete": "delete"})),
    path(_MESSAGE + "timeline/", MessageViews.as_view({"get": "timeline"})),
    path(_MESSAGE + "release/", MessageViews.as_view({"post": "release"})),
    path(_ATTACHMENT, AttachmentViews.as_view({"get": "retrieve"})),
    path(_ATTACHMENT + "content/", AttachmentViews.as_view({"get": "content"})),
    path(_ATTACHMENT + "thumbnail/", AttachmentViews.as_view({"get": "thumbnail"})),
    path(_ATTACHMENT + "download-again/", AttachmentViews.as_view({"post": "download_again"})),
    path("dead-letters/", DeadLetterViews.as_view({"get": "list"})),
    path("dead-letters/replay/", DeadLetterViews.as_view({"post": "replay_many"})),
    path(_DEAD_LETTER, DeadLetterViews.as_view({"get": "retrieve"})),
    path(_DEAD_LETTER + "replay/", DeadLetterViews.as_view({"post": "replay"})),
    path(_DEAD_LETTER + "discard/", DeadLetterViews.as_view({"post": "discard"})),
    path("contacts/<uuid:pk>/merges/", MergeViews.as_view({"get": "list"})),
    path("contacts/<uuid:pk>/merges/<uuid:merge_id>/undo/", MergeViews.as_view({"post": "undo"})),
    path("instances/", InstanceViews.as_view({"get": "list", "post": "create"})),
    path(_INSTANCE, InstanceViews.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"})),
    path(_INSTANCE + "connect/", InstanceViews.as_view({"post": "connect"})),
    path(_INSTANCE + "qr-code/", InstanceViews.as_view({"get": "qr_code"})),
    path(_INSTANCE + "restart/", InstanceViews.as_view({"post": "restart"})),
    path(_INSTANCE + "logout/", InstanceViews.as_view({"post": "logout", "delete": "logout"})),
    path(_INSTANCE + "state/", InstanceViews.as_view({"get": "state"})),
    path(_INSTANCE + "setup-webhook/", InstanceViews.as_view({"post": "setup_webhook"})),
    path(_INSTANCE + "release-stale/", InstanceViews.as_view({"post": "release_stale"})),
    path("attachments/", UploadViews.as_view({"post": "create"})),
    path("reactions/add/", ReactionViews.as_view({"post": "add"})),
    path("reactions/remove/", ReactionViews.as_view({"post": "remove", "delete": "remove"})),
    path("reactions/queues/status/", QueueViews.as_view({"get": "status"})),
    path("ws-ticket/", TicketViews.as_view({"post": "create"})),
    path(_WEBHOOK, webhooks.receive),
    path(_WEBHOOK + "<event_name:event_name>", webhooks.receive),
]
