"""The rows. A `Delivery` is the truth about one thing we owe WhatsApp; everything else on the way is a hint.

Ids that leave the system are UUIDv7; ids that only the engine uses are big integers.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.tenancy.ids import uuid7
from apps.tenancy.models import Tenant, User
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
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "name", "base_url"], name="instance_once")]
        indexes = [models.Index(fields=["probe_at"], condition=Q(gate=1), name="instance_probe")]

    def __str__(self) -> str:
        return self.name


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
    phone = models.CharField(max_length=32, blank=True, help_text="Digits with country code, when known.")
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
