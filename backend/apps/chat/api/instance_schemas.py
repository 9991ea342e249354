"""`schemas` of `instances/`: what requests and answers about a WhatsApp number look like."""

from __future__ import annotations

from rest_framework import serializers

from apps.chat.api.parsing import IdField, TextField
from apps.chat.api.schemas import ConversationInstance, Serializer


class InstanceCreate(Serializer):
    name = TextField(max_length=100, help_text="Its name in Evolution.")
    number = TextField(
        required=False,
        allow_blank=True,
        max_length=40,
        help_text="For pairing by a code instead of a picture.",
    )
    tenant = IdField(required=False, allow_null=True, help_text="Needed by members of several tenants.")


class InstanceChange(Serializer):
    read_receipts = serializers.ChoiceField(choices=["never", "on_open", "on_reply"])


class InstanceConnect(Serializer):
    number = TextField(required=False, allow_blank=True, max_length=40)


class Instance(ConversationInstance):
    connection_reason = serializers.CharField()
    connection_changed_at = serializers.DateTimeField(allow_null=True)
    gate = serializers.ChoiceField(choices=["open", "parked", "frozen"])
    gate_reason = serializers.CharField()
    gate_since = serializers.DateTimeField(allow_null=True)
    next_probe_at = serializers.DateTimeField(
        allow_null=True, help_text="When a parked number is looked at again, at the earliest."
    )
    throttled_at = serializers.DateTimeField(
        allow_null=True, help_text="When WhatsApp last asked it to slow down; it is slower for a while after."
    )
    waiting = serializers.IntegerField(help_text="Messages that have not left yet.")
    held = serializers.IntegerField(help_text="Those of them that wait for a person's decision.")
    stale = serializers.IntegerField(help_text="Those of them that are held because they grew too old.")
    read_receipts = serializers.ChoiceField(choices=["never", "on_open", "on_reply"])
    receipt_failed_at = serializers.DateTimeField(
        allow_null=True, help_text="When a read receipt last failed; null since one went out."
    )
    receipt_reason = serializers.CharField()
    logged_out_at = serializers.DateTimeField(allow_null=True)
    healed_until = serializers.DateTimeField(
        allow_null=True, help_text="Compared with Evolution up to here: nothing is missing."
    )
    created_at = serializers.DateTimeField()


class WebhookStanding(Serializer):
    ok = serializers.BooleanField()
    state = serializers.CharField()
    sentence = serializers.CharField()


class NewInstance(Instance):
    webhook = WebhookStanding()


class QrCode(Serializer):
    base64 = serializers.CharField(allow_null=True, help_text="A data: URL of the picture to scan.")
    code = serializers.CharField(allow_null=True, help_text="What the picture says.")
    pairing_code = serializers.CharField(allow_null=True, help_text="To be typed on the phone.")


class Pairing(Serializer):
    state = serializers.CharField()
    qr_code = QrCode(allow_null=True, help_text="Null: open already, or ask again in a moment.")
    recreated = serializers.BooleanField(
        help_text="It had been logged out, so Evolution had to make it anew."
    )


class InstanceDone(Serializer):
    state = serializers.CharField()
    done = serializers.BooleanField(help_text="False: there was nothing to do.")


class InstanceRemoved(Serializer):
    removed = serializers.BooleanField(
        help_text="False: gone from Evolution, kept here with its conversations."
    )


class ReleasedStale(Serializer):
    action = serializers.ChoiceField(choices=["send", "discard"])
    count = serializers.IntegerField()


class InstancePage(Serializer):
    results = Instance(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
