"""Raw webhook events, as they came."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from .instances import Instance


class WebhookEvent(models.Model):
    """The journal: a raw event, credentials stripped, stored before it is answered."""

    class State(models.IntegerChoices):
        NEW = 0
        APPLIED = 1
        IGNORED = 2
        FAILED = 3

    id = models.BigAutoField(primary_key=True)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=60, blank=True)
    body = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    state = models.SmallIntegerField(choices=State, default=State.NEW)
    tries = models.SmallIntegerField(default=0)
    note = models.CharField(max_length=200, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["id"], condition=Q(state=0), name="journal_new")]

    def __str__(self) -> str:
        return f"{self.event} {self.pk}"
