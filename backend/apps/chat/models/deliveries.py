"""What we owe WhatsApp: the rows that the engine moves, and what it knows about each try."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.tenancy.models import Tenant

from .conversations import Conversation
from .instances import Instance
from .messages import Ack, Message


class Worker(models.Model):
    """A process that moves deliveries. Its id owns steps; its heartbeat says whether it still lives."""

    name = models.CharField(max_length=200)
    beat_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(db_default=Now())
    stopped = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["beat_at"], name="worker_beat")]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One thing we owe WhatsApp in a conversation, in the order of `seq`.

    `wake_at` is what a step checks (may it move yet?); `sweep_at` is the sweeper's own alarm (when to look again).
    `fence` grows with each change of hands: whoever reports a negative outcome must hold the current one.
    """

    class State(models.IntegerChoices):
        """Below 10 a row is live: it takes part in its lane."""

        QUEUED = 0
        SENDING = 1
        VERIFYING = 2
        HELD = 3
        SENT = 10
        FAILED = 11
        CANCELLED = 12

    class Kind(models.IntegerChoices):
        TEXT = 0
        EDIT = 1
        DELETE = 2
        REACTION = 3
        MEDIA = 4

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+", db_index=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="deliveries")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="+", db_index=False)
    seq = models.BigIntegerField()
    kind = models.SmallIntegerField(choices=Kind, default=Kind.TEXT)
    payload = models.JSONField(
        null=True, blank=True, help_text="What an edit or a reaction says; never a credential."
    )
    fingerprint = models.CharField(max_length=32, help_text="What it says, as evolution.fingerprint sees it.")
    state = models.SmallIntegerField(choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)
    fence = models.IntegerField(default=0)
    tries = models.SmallIntegerField(default=0, help_text="POSTs that count against CHAT_STREAM_MAX_RETRIES.")
    attempts = models.SmallIntegerField(default=0, help_text="Steps ever taken; numbers the attempts.")
    checks = models.SmallIntegerField(
        default=0, help_text="Looks of the resolver in the present verification."
    )
    owner = models.ForeignKey(
        Worker,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    maybe = models.BooleanField(
        default=False, help_text="Released by a person while an earlier try was unclear."
    )
    cancel_requested = models.BooleanField(default=False)
    failure_gen = models.IntegerField(default=0, help_text="Which failure a replay answers: grows with each.")
    wake_at = models.DateTimeField(db_default=Now())
    sweep_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    live: ClassVar[models.GeneratedField] = models.GeneratedField(
        expression=Q(state__lt=10),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "seq"], condition=Q(live=True), name="delivery_lane"
            ),
        ]
        indexes = [
            models.Index(fields=["sweep_at"], condition=Q(live=True), name="delivery_sweep"),
            models.Index(fields=["instance"], condition=Q(live=True), name="delivery_instance"),
            models.Index(fields=["tenant", "-finished_at"], condition=Q(state=11), name="delivery_failed"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class Attempt(models.Model):
    """One POST: what it said, when its step began, how it ended. Evidence binds attempts, never texts."""

    class Closed(models.IntegerChoices):
        """Null while nobody knows."""

        NOT_SENT = 0
        ACCEPTED = 1
        ERROR = 2

    class BoundBy(models.IntegerChoices):
        ANSWER = 0
        MATCH = 1

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempt_rows")
    conversation = models.ForeignKey(
        Conversation, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    instance = models.ForeignKey(
        Instance, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    n = models.SmallIntegerField()
    fence = models.IntegerField()
    fingerprint = models.CharField(max_length=32)
    worker = models.ForeignKey(
        Worker, null=True, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    step_at = models.DateTimeField(db_default=Now())
    closed = models.SmallIntegerField(choices=Closed, null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    http_status = models.SmallIntegerField(null=True, blank=True)
    bytes_left = models.BooleanField(null=True, blank=True)
    provider_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001  (NULLs do not collide)
    bound_by = models.SmallIntegerField(choices=BoundBy, null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["instance", "provider_id"],
                condition=Q(provider_id__isnull=False),
                name="attempt_provider_id",
            ),
            models.UniqueConstraint(fields=["delivery", "n"], name="attempt_number"),
        ]
        indexes = [
            models.Index(fields=["conversation"], condition=Q(closed__isnull=True), name="attempt_open"),
            models.Index(
                fields=["instance", "fingerprint"],
                condition=Q(provider_id__isnull=True),
                name="attempt_unbound",
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class Evidence(models.Model):
    """What Evolution said about a message of ours before we could tell which: parked until it can be bound."""

    class Origin(models.TextChoices):
        API = "api"
        PHONE = "phone"
        UNKNOWN = "unknown"

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="+")
    provider_id = models.CharField(max_length=128)
    remote_jid = models.CharField(max_length=128, blank=True)
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.CASCADE, related_name="+")
    fingerprint = models.CharField(max_length=32, blank=True)
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.UNKNOWN)
    provider_time = models.DateTimeField(null=True, blank=True)
    ack = models.SmallIntegerField(choices=Ack, default=Ack.NONE)
    ack_error = models.BooleanField(default=False)
    record = models.JSONField(
        null=True, blank=True, help_text="The message's own words, for when it proves not ours."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "provider_id"], name="evidence_once")]

    def __str__(self) -> str:
        return str(self.pk)


class PassportEntry(models.Model):
    """What befell a message beside its attempts and acks: holds, releases, takeovers, edits, replays."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="passport")
    at = models.DateTimeField(db_default=Now())
    event = models.CharField(max_length=32)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.event
