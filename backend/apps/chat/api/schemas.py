"""What requests and answers look like, for OpenAPI and for checking requests. Answers are made by `shapes`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.chat.api.parsing import IdField, TextField

Serializer = serializers.Serializer[Any]


class Login(Serializer):
    email = TextField(max_length=254)
    password = TextField(max_length=1024)


class MessageWrite(Serializer):
    """A message for a conversation that the URL names."""

    content = TextField(allow_blank=True, max_length=None)
    client_message_id = TextField(required=False, allow_null=True, max_length=128)
    reply_to = IdField(required=False, allow_null=True)
    attachments = serializers.ListField(
        child=IdField(),
        required=False,
        help_text="Uploaded files, each a message of its own; the words go with the first.",
    )


class MessageCreate(MessageWrite):
    conversation = IdField()


class ConversationStart(Serializer):
    contact_phone = TextField(max_length=128)
    instance_id = IdField(required=False, allow_null=True)
    tenant = IdField(required=False, allow_null=True)


class MarkAsRead(Serializer):
    message_id = IdField(required=False, allow_null=True)


class Assign(Serializer):
    """To whom; null for nobody. Without it, the caller takes the conversation."""

    user_id = IdField(required=False, allow_null=True)


class RetrySend(Serializer):
    failure_gen = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=2**31 - 1)


class Release(Serializer):
    """`send` it although an earlier try may have gone out, or `discard` it."""

    action = serializers.ChoiceField(choices=["send", "discard"])


class Edit(Serializer):
    content = TextField(allow_blank=True)


class Upload(Serializer):
    """`multipart/form-data`. `conversation` or `tenant` say whose it is, where you have several tenants."""

    file = serializers.FileField()
    voice = serializers.BooleanField(
        default=False, help_text="It is a voice message: converted to Ogg/Opus where ffmpeg is there."
    )
    conversation = IdField(required=False, allow_null=True)
    tenant = IdField(required=False, allow_null=True)


class ReactionAdd(Serializer):
    message = IdField()
    emoji = TextField(max_length=64)


class ReactionRemove(Serializer):
    message = IdField()


class BulkReplay(Serializer):
    """Which dead letters: by id, or all that match. `dry_run` only counts."""

    dry_run = serializers.BooleanField(default=False)
    ids = serializers.ListField(child=IdField(), required=False, max_length=1000)
    reason = TextField(required=False, max_length=40)
    instance = IdField(required=False, allow_null=True)
    conversation = IdField(required=False, allow_null=True)
    limit = serializers.IntegerField(default=500, min_value=1, max_value=1000)


# --- answers ---------------------------------------------------------------------------------------


class Words(Serializer):
    en = serializers.CharField()
    pt = serializers.CharField()


class Person(Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()


class Reaction(Serializer):
    emoji = serializers.CharField()
    from_me = serializers.BooleanField(
        help_text="Put by our number: here, on the phone or by another program."
    )
    author = serializers.CharField(allow_blank=True, help_text="The person's WhatsApp address; empty for us.")
    user = Person(allow_null=True)
    reacted_at = serializers.DateTimeField()


class Reactions(Serializer):
    message = serializers.UUIDField()
    reactions = Reaction(many=True)


class Attachment(Serializer):
    id = serializers.UUIDField()
    message = serializers.UUIDField(
        allow_null=True, help_text="Null until the message it was uploaded for is written."
    )
    kind = serializers.ChoiceField(choices=["image", "video", "audio", "voice", "document", "sticker"])
    status = serializers.ChoiceField(choices=["pending", "processing", "completed", "failed", "skipped"])
    reason = serializers.CharField(help_text="Why it failed or was skipped, or what it waits for.")
    reason_text = Words(allow_null=True)
    mime_type = serializers.CharField(help_text="By the bytes once it is completed; until then as claimed.")
    file_name = serializers.CharField()
    size = serializers.IntegerField(allow_null=True, help_text="Bytes.")
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    waveform = serializers.ListField(
        child=serializers.IntegerField(), allow_null=True, help_text="Up to 64 levels, 0 to 100."
    )
    url = serializers.CharField(
        allow_null=True, help_text="Signed path; ask for the attachment again once it ended."
    )
    thumbnail_url = serializers.CharField(allow_null=True, help_text="A small JPEG, signed likewise.")
    preview = serializers.CharField(
        allow_null=True, help_text="A tiny JPEG as data: URL, until there is a thumbnail."
    )


class Message(Serializer):
    id = serializers.UUIDField()
    conversation = serializers.UUIDField()
    direction = serializers.ChoiceField(choices=["incoming", "outgoing"])
    origin = serializers.ChoiceField(choices=["api", "phone", "other", "customer"])
    kind = serializers.CharField()
    content = serializers.CharField()
    details = serializers.JSONField(
        allow_null=True,
        help_text="What a kind beside text says: `location`, `contacts`, `poll`, `choice`, `call`, `note`, …",
    )
    status = serializers.ChoiceField(
        choices=[
            "received", "queued", "sending", "retrying", "verifying", "held", "submitted", "sent",
            "delivered", "seen", "failed", "cancelled",
        ]
    )  # fmt: skip
    reason = serializers.CharField()
    reason_text = Words(allow_null=True)
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    failure_gen = serializers.IntegerField(
        help_text="Send it along with retry-send: pressing twice sends once."
    )
    held_by = serializers.UUIDField(
        allow_null=True, help_text="The message that has to leave before this one."
    )
    position = serializers.IntegerField(
        allow_null=True, help_text="How many leave before it; single messages only."
    )
    leaves_in_seconds = serializers.IntegerField(
        allow_null=True,
        help_text="About when it leaves; null when a person or the phone decides. Single waiting messages only.",
    )
    provider_id = serializers.CharField(allow_null=True)
    client_message_id = serializers.CharField(allow_null=True)
    reply_to = serializers.UUIDField(allow_null=True)
    sender = Person(allow_null=True)
    author_name = serializers.CharField()
    reactions = Reaction(many=True)
    attachments = Attachment(many=True)
    created_at = serializers.DateTimeField()
    sort_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    seen_at = serializers.DateTimeField(allow_null=True)
    edited_at = serializers.DateTimeField(allow_null=True)
    deleted_at = serializers.DateTimeField(allow_null=True)


class Written(Message):
    messages = Message(many=True, required=False, help_text="With attachments: all messages of the request.")


class CancelledMessage(Message):
    result = serializers.ChoiceField(choices=["stopped", "stopped_maybe", "pending"])


class Contact(Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    phone = serializers.CharField()
    picture_url = serializers.CharField(
        allow_null=True, help_text="A path of this server; a new picture has a new path."
    )
    description = serializers.CharField(help_text="A group's own.")
    members = serializers.IntegerField(allow_null=True, help_text="How many a group has, as far as known.")


class ConversationInstance(Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    connection = serializers.ChoiceField(choices=["unknown", "open", "connecting", "close"])


class Conversation(Serializer):
    id = serializers.UUIDField()
    tenant = serializers.UUIDField()
    contact = Contact()
    conversation_type = serializers.ChoiceField(choices=["individual", "group", "broadcast"])
    instance = ConversationInstance()
    status = serializers.ChoiceField(choices=["pending", "open", "closed"])
    assigned_to = serializers.UUIDField(allow_null=True)
    assigned_to_name = serializers.CharField(allow_null=True)
    unread_count = serializers.IntegerField()
    last_message_at = serializers.DateTimeField()
    last_message_preview = serializers.CharField()
    created_at = serializers.DateTimeField()


class TimelineEntry(Serializer):
    at = serializers.DateTimeField()
    event = serializers.CharField()
    detail = serializers.DictField()


class Timeline(Serializer):
    message = Message()
    results = TimelineEntry(many=True)


class DeadLetter(Serializer):
    id = serializers.UUIDField(help_text="The message's id.")
    message = Message()
    contact = Contact()
    instance = ConversationInstance()
    reason = serializers.CharField()
    reason_text = Words(allow_null=True)
    attempts = serializers.IntegerField()
    failure_gen = serializers.IntegerField()
    failed_at = serializers.DateTimeField()


class BulkResult(Serializer):
    dry_run = serializers.BooleanField()
    matched = serializers.IntegerField()
    replayed = serializers.IntegerField()
    skipped = serializers.IntegerField()
    ids = serializers.ListField(child=serializers.UUIDField())


class MergedContact(Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    phone = serializers.CharField()


class Merge(Serializer):
    id = serializers.UUIDField()
    contact = serializers.UUIDField(help_text="The one that stayed.")
    merged = MergedContact(help_text="The other, as it was.")
    addresses = serializers.ListField(child=serializers.CharField(), help_text="Those the other had.")
    why = serializers.ListField(child=serializers.CharField(), help_text="The addresses that came together.")
    at = serializers.DateTimeField()
    undone_at = serializers.DateTimeField(allow_null=True)
    undone_by = Person(allow_null=True)


class Merges(Serializer):
    results = Merge(many=True)


class Tenant(Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=["agent", "admin"])


class LoggedIn(Serializer):
    token = serializers.CharField()
    user = Person()
    tenants = Tenant(many=True)


class Ticket(Serializer):
    ticket = serializers.CharField()
    expires_in = serializers.IntegerField()


class Refreshing(Serializer):
    conversation = serializers.UUIDField()
    queued = serializers.ListField(
        child=serializers.CharField(), help_text="What WhatsApp will be asked for."
    )
    asked = serializers.ListField(
        child=serializers.CharField(), help_text="What it was asked for moments ago and is not asked again."
    )
    refused = serializers.ListField(child=serializers.CharField(), help_text="What there was no room for.")


class QueuesStatus(Serializer):
    metrics = serializers.DictField()
    stream_metrics = serializers.DictField()
    media_metrics = serializers.DictField()
    workers = serializers.ListField(child=serializers.DictField())
    alerts = serializers.ListField(child=serializers.DictField())
    timestamp = serializers.DateTimeField()


class Problem(Serializer):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    errors = serializers.ListField(child=serializers.DictField(), required=False)  # type: ignore[assignment]


class ConversationPage(Serializer):
    results = Conversation(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class MessagePage(Serializer):
    results = Message(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class DeadLetterPage(Serializer):
    results = DeadLetter(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
