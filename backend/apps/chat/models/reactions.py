"""What people answered a message with, by emoji."""

from __future__ import annotations

from django.db import models

from apps.tenancy.ids import uuid7
from apps.tenancy.models import Tenant, User

from .messages import Message


class MessageReaction(models.Model):
    """The one emoji that one person (or our number) put on a message."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="reactions")
    author = models.CharField(
        max_length=128, blank=True, help_text="The reacting person's JID key; empty for our own number."
    )
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    emoji = models.CharField(
        max_length=64, blank=True, help_text="Empty when it was taken back: the row remembers when."
    )
    reacted_at = models.DateTimeField(help_text="WhatsApp's time for what came in, ours for what we sent.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "author"], name="reaction_once")]

    def __str__(self) -> str:
        return str(self.id)
