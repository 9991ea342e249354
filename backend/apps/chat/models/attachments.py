"""Files that go with messages: what came in and is fetched, what goes out and was uploaded."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.tenancy.ids import uuid7
from apps.tenancy.models import Tenant, User

from .messages import Message


class MessageAttachment(models.Model):
    """One file. Its bytes are kept under `sha256` in Django's default storage, once per tenant."""

    class Status(models.TextChoices):
        """`SKIPPED` was never wanted (type, size); `FAILED` may be tried again by a person."""

        PENDING = "pending"
        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"
        SKIPPED = "skipped"

    class Kind(models.TextChoices):
        IMAGE = "image"
        VIDEO = "video"
        AUDIO = "audio"
        VOICE = "voice"
        DOCUMENT = "document"
        STICKER = "sticker"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(
        Message,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="attachments",
        help_text="Empty between an upload and the message that carries it.",
    )
    uploaded_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    position = models.SmallIntegerField(default=0, help_text="Among the files of one message.")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.DOCUMENT)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    reason = models.CharField(max_length=40, blank=True, help_text="Why it failed or was skipped.")
    mime_type = models.CharField(max_length=120, blank=True)
    file_name = models.CharField(
        max_length=255, blank=True, help_text="As the sender named it; never a path."
    )
    size = models.BigIntegerField(null=True, blank=True, help_text="Bytes.")
    sha256 = models.CharField(max_length=64, blank=True)
    file = models.CharField(max_length=255, blank=True, help_text="Name in the storage.")
    thumbnail = models.CharField(max_length=255, blank=True, help_text="Name in the storage.")
    preview = models.TextField(
        blank=True, help_text="The sender's own tiny JPEG, base64, until ours is made."
    )
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    waveform = models.JSONField(null=True, blank=True, help_text="Up to 64 levels, 0 to 100.")
    source = models.JSONField(
        null=True, blank=True, help_text="Whereby Evolution finds it (the message's key); never a credential."
    )
    tries = models.SmallIntegerField(default=0, help_text="Those that failed for the file's own reasons.")
    wake_at = models.DateTimeField(
        db_default=Now(),
        help_text="When a pending one may be tried (again); when a processing one is anybody's again.",
    )
    owner = models.CharField(max_length=32, blank=True, help_text="Random word of whoever is processing it.")
    asked_at = models.DateTimeField(db_default=Now(), help_text="Since when it is wanted (again).")
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["message", "position"], name="attachment_of_message"),
            models.Index(
                fields=["wake_at"], condition=Q(status__in=["pending", "processing"]), name="attachment_due"
            ),
            models.Index(fields=["tenant", "sha256"], name="attachment_content"),
        ]

    def __str__(self) -> str:
        return str(self.id)
