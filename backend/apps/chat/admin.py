"""The chat's rows for operators, to look at. Credentials can be written, never read; the engine's rows only read."""

from __future__ import annotations

import secrets

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from apps.chat.models import Attempt, Contact, Conversation, Delivery, Instance, Message, WebhookEvent, Worker


class InstanceForm(forms.ModelForm):  # type: ignore[type-arg]
    """The key is written, never shown: empty keeps the one there is."""

    new_api_key = forms.CharField(
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Evolution's key. Never shown; leave empty to keep it.",
    )
    new_webhook_secret = forms.BooleanField(
        required=False,
        help_text="Make a new webhook secret. Evolution must be told it (setup_chat_webhooks).",
    )

    class Meta:
        model = Instance
        fields = ("tenant", "name", "base_url", "gate")

    def save(self, commit: bool = True) -> Instance:
        if self.cleaned_data["new_api_key"]:
            self.instance.api_key = self.cleaned_data["new_api_key"]
        if self.cleaned_data["new_webhook_secret"] or not self.instance.webhook_secret:
            self.instance.webhook_secret = secrets.token_urlsafe(32)
        saved: Instance = super().save(commit)
        return saved


@admin.register(Instance)
class InstanceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = InstanceForm
    list_display = ("name", "tenant", "connection", "gate", "gate_reason", "gate_since")
    list_filter = ("connection", "gate")
    list_select_related = ("tenant",)
    search_fields = ("name", "tenant__name")
    readonly_fields = (
        "connection",
        "connection_reason",
        "gate_reason",
        "gate_since",
        "gate_parks",
        "probe_at",
    )


class LookOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """To look, not to touch: what people do goes through the inbox, so that the passport knows of it."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Contact)
class ContactAdmin(LookOnly):
    list_display = ("id", "kind", "name", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("name", "phone")


@admin.register(Conversation)
class ConversationAdmin(LookOnly):
    list_display = ("id", "tenant", "status", "unread_count", "last_message_at")
    list_filter = ("status",)
    list_select_related = ("tenant",)
    search_fields = ("id",)


@admin.register(Message)
class MessageAdmin(LookOnly):
    """Without the text: an operator needs to know where a message is, not what it says."""

    fields = (
        "id",
        "tenant",
        "conversation",
        "direction",
        "origin",
        "kind",
        "provider_id",
        "ack",
        "created_at",
        "sent_at",
    )
    list_display = ("id", "direction", "kind", "ack", "created_at")
    search_fields = ("id", "provider_id")


@admin.register(Delivery)
class DeliveryAdmin(LookOnly):
    exclude = ("payload",)
    list_display = ("id", "state", "kind", "reason", "attempts", "wake_at", "created_at")
    list_filter = ("state", "kind", "reason")
    search_fields = ("message__id",)


@admin.register(Attempt)
class AttemptAdmin(LookOnly):
    list_display = ("id", "delivery_id", "n", "closed", "reason", "http_status", "step_at")
    list_filter = ("closed", "reason")


@admin.register(Worker)
class WorkerAdmin(LookOnly):
    list_display = ("name", "started_at", "beat_at", "stopped")


@admin.register(WebhookEvent)
class WebhookEventAdmin(LookOnly):
    """Without the body, which holds what people said."""

    exclude = ("body",)
    list_display = ("id", "event", "state", "tries", "note", "received_at")
    list_filter = ("state", "event")
    list_select_related = ("instance",)
