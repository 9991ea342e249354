"""The webhook endpoint alone, under the address it has in the product."""

from django.urls import path

from apps.chat.webhooks import receive

_BASE = "api/chat/webhooks/evolution/<uuid:instance_id>/"
urlpatterns = [path(_BASE, receive), path(f"{_BASE}<str:event_name>/", receive)]
