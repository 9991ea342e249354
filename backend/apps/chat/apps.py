"""The chat: conversations, deliveries to WhatsApp and what comes back."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "apps.chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.chat import checks  # noqa: F401  (registers the system checks)
