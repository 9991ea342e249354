"""A WhatsApp number behind one Evolution instance."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.tenancy.ids import uuid7
from apps.tenancy.models import Tenant
from apps.tenancy.secrets import SealedTextField


class Instance(models.Model):
    """A WhatsApp number behind one Evolution instance, its credentials (sealed) and its gate."""

    class Connection(models.TextChoices):
        UNKNOWN = "unknown"
        OPEN = "open"
        CONNECTING = "connecting"
        CLOSE = "close"

    class Gate(models.IntegerChoices):
        """May it send now? `PARKED` opens again by evidence or a probe, `FROZEN` only after its settings change."""

        OPEN = 0
        PARKED = 1
        FROZEN = 2

    class ReadReceipts(models.TextChoices):
        """When the customer sees that we have read: never, when somebody opens the chat, or when we answer."""

        NEVER = "never"
        ON_OPEN = "on_open"
        ON_REPLY = "on_reply"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="instances")
    name = models.CharField(max_length=100, help_text="The instance's name in Evolution.")
    base_url = models.CharField(max_length=300)
    api_key = SealedTextField(blank=True)
    webhook_secret = SealedTextField()
    owner_jid = models.CharField(max_length=128, blank=True)
    connection = models.CharField(max_length=12, choices=Connection, default=Connection.UNKNOWN)
    connection_reason = models.CharField(max_length=40, blank=True)
    connection_changed_at = models.DateTimeField(null=True, blank=True)
    gate = models.SmallIntegerField(choices=Gate, default=Gate.OPEN)
    gate_reason = models.CharField(max_length=40, blank=True)
    gate_since = models.DateTimeField(null=True, blank=True)
    gate_parks = models.PositiveSmallIntegerField(
        default=0, help_text="Times parked since the last accepted send."
    )
    probe_at = models.DateTimeField(null=True, blank=True, help_text="When a parked instance is asked again.")
    throttles = models.PositiveSmallIntegerField(
        db_default=0, help_text="Rate-limit answers in a row, as of the last one."
    )
    throttled_at = models.DateTimeField(
        null=True, blank=True, help_text="When WhatsApp last asked to slow down."
    )
    cold_day = models.DateField(null=True, blank=True, help_text="The day (UTC) that cold_sent counts.")
    cold_sent = models.PositiveIntegerField(
        db_default=0, help_text="Sends of that day to contacts who never wrote."
    )
    cold_error_at = models.DateTimeField(
        null=True, blank=True, help_text="When WhatsApp last rejected a send to a contact who never wrote."
    )
    cold_held_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then nothing goes to contacts who never wrote."
    )
    read_receipts = models.CharField(
        max_length=8, choices=ReadReceipts, default=ReadReceipts.ON_OPEN, db_default=ReadReceipts.ON_OPEN
    )
    receipt_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a read receipt last failed; empty since one went out."
    )
    receipt_reason = models.CharField(max_length=40, blank=True, db_default="")
    qr = SealedTextField(
        blank=True, db_default="", help_text="The latest QR code, as JSON; links an account."
    )
    qr_at = models.DateTimeField(null=True, blank=True)
    logged_out_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then Evolution needs it deleted and made anew to pair again."
    )
    heal_at = models.DateTimeField(
        db_default=Now(), help_text="When what we hold is next compared with Evolution."
    )
    healed_until = models.DateTimeField(
        null=True, blank=True, help_text="Up to WhatsApp's time here, nothing is missing."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "name", "base_url"], name="instance_once")]
        indexes = [models.Index(fields=["probe_at"], condition=Q(gate=1), name="instance_probe")]

    def __str__(self) -> str:
        return self.name
