"""Who we talk to, and where."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from apps.tenancy.ids import uuid7
from apps.tenancy.models import Tenant, User

from .instances import Instance


class Contact(models.Model):
    """Someone (or a group) that WhatsApp knows under one or more JIDs."""

    class Kind(models.TextChoices):
        INDIVIDUAL = "individual"
        GROUP = "group"
        BROADCAST = "broadcast"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="contacts")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.INDIVIDUAL)
    name = models.CharField(max_length=200, blank=True)
    name_at = models.DateTimeField(
        null=True, blank=True, help_text="When WhatsApp told the name by itself, not along with a message."
    )
    phone = models.CharField(max_length=32, blank=True, help_text="Digits with country code, when known.")
    picture = models.CharField(
        max_length=255, blank=True, default="", db_default="", help_text="The copy's name in the storage."
    )
    picture_type = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="Its MIME type."
    )
    picture_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    picture_checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When WhatsApp was last asked for the picture."
    )
    name_checked_at = models.DateTimeField(null=True, blank=True, help_text="... for the name.")
    group_checked_at = models.DateTimeField(null=True, blank=True, help_text="... for the group's card.")
    description = models.TextField(blank=True, default="", db_default="", help_text="A group's own.")
    members = models.PositiveIntegerField(null=True, blank=True, help_text="How many a group has.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.id)


class ContactJid(models.Model):
    """One of a contact's JIDs; `key` is the form under which variants of a number are equal (evolution.jids)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="jids")
    key = models.CharField(max_length=128)
    jid = models.CharField(max_length=128)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="contact_jid_once")]

    def __str__(self) -> str:
        return str(self.pk)


class ContactMerge(models.Model):
    """Two contacts that proved to be one, and what it takes to make two of them again."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    contact = models.ForeignKey(
        Contact, on_delete=models.CASCADE, related_name="merges", help_text="The one that stayed."
    )
    left = models.JSONField(help_text="The other as it was: id, kind, name, phone, addresses, conversations.")
    why = models.JSONField(default=list, help_text="The addresses that came together.")
    at = models.DateTimeField(db_default=Now())
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["contact", "-at"], name="merge_of_contact")]

    def __str__(self) -> str:
        return str(self.id)


class Conversation(models.Model):
    """A contact on one of our numbers. It is also a lane: its live deliveries leave one after the other."""

    class Status(models.TextChoices):
        PENDING = "pending"
        OPEN = "open"
        CLOSED = "closed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="conversations")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="conversations")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="conversations")
    remote_jid = models.CharField(max_length=128, help_text="Where our sends go.")
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    assigned_to = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    next_seq = models.BigIntegerField(
        default=0, help_text="Last seq given to a delivery, under this row's lock."
    )
    unread_count = models.PositiveIntegerField(default=0)
    last_message_at = models.DateTimeField(
        default=timezone.now, help_text="Sorts the list; the start of it when empty."
    )
    last_message_preview = models.CharField(max_length=160, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "contact"], name="conversation_once")]
        indexes = [models.Index(fields=["tenant", "-last_message_at", "-id"], name="conversation_list")]

    def __str__(self) -> str:
        return str(self.id)
