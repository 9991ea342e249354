"""Messages as people see them, and what hangs on them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.tenancy.ids import uuid7
from apps.tenancy.models import Tenant, User

from .conversations import Conversation
from .instances import Instance

# Kinds of messages that nobody wrote: a call, and who came to a group or left it.
CALL, NOTE = "call", "note"


class Ack(models.IntegerChoices):
    """How far WhatsApp has told us a message came; only ever grows."""

    NONE = 0
    SUBMITTED = 1
    SENT = 2
    DELIVERED = 3
    SEEN = 4


class Message(models.Model):
    """A message as people see it. Whether an outgoing one is on its way is told by its delivery."""

    class Direction(models.TextChoices):
        INCOMING = "incoming"
        OUTGOING = "outgoing"

    class Origin(models.TextChoices):
        """Who wrote it: through us, on the phone itself, another program on the same number, or the customer."""

        API = "api"
        PHONE = "phone"
        OTHER = "other"
        CUSTOMER = "customer"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="+")
    direction = models.CharField(max_length=8, choices=Direction)
    origin = models.CharField(max_length=8, choices=Origin)
    kind = models.CharField(max_length=24, default="text")
    content = models.TextField(blank=True)
    details = models.JSONField(
        null=True, blank=True, help_text="What a kind beside text says: a place, cards, a poll, a call."
    )
    sender = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    author_name = models.CharField(max_length=200, blank=True, help_text="Who spoke, in a group.")
    author_jid = models.CharField(max_length=128, blank=True)
    reply_to = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    quoted_provider_id = models.CharField(max_length=128, blank=True)
    client_message_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  (NULLs do not collide)
    request_digest = models.CharField(max_length=64, blank=True)
    provider_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  (NULLs do not collide)
    ack = models.SmallIntegerField(choices=Ack, default=Ack.NONE)
    ack_error = models.BooleanField(default=False)
    recovered = models.BooleanField(default=False, help_text="Arrived long after WhatsApp's own time.")
    sort_at = models.DateTimeField(help_text="WhatsApp's time for what came in, ours for what we sent.")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True, help_text="When we read an incoming one.")
    edited_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "client_message_id"],
                condition=Q(client_message_id__isnull=False),
                name="message_client_id",
            ),
            models.UniqueConstraint(
                fields=["instance", "provider_id"],
                condition=Q(provider_id__isnull=False),
                name="message_provider_id",
            ),
        ]
        indexes = [models.Index(fields=["conversation", "-sort_at", "-id"], name="message_thread")]

    def __str__(self) -> str:
        return str(self.id)
