"""Two teams that must never see each other, and the short ways of saying things in tests."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.test import APIClient

from apps.chat import actions
from apps.chat.models import Conversation, Delivery, Instance, Message
from apps.tenancy.models import ApiToken, Membership, Tenant, User

PASSWORD = "correct horse battery"


@dataclass
class Team:
    tenant: Tenant
    user: User
    token: str
    instance: Instance
    conversation: Conversation

    @property
    def client(self) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {self.token}")
        return client

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(f"/api/chat/{path}", params)

    def post(self, path: str, body: Any = None) -> Any:
        text = json.dumps(body if body is not None else {})  # escapes, and so carries what UTF-8 cannot
        return self.client.post(f"/api/chat/{path}", text, content_type="application/json")

    def say(self, content: str = "Olá", **more: Any) -> Any:
        return self.post("messages/", {"conversation": str(self.conversation.pk), "content": content, **more})

    def message(self, content: str = "Olá") -> Message:
        return actions.send_message(self.user, self.conversation, content)[0]

    def incoming(self, content: str = "Oi", **fields: Any) -> Message:
        now = timezone.now()
        return Message.objects.create(
            **{
                "tenant": self.tenant,
                "conversation": self.conversation,
                "instance": self.instance,
                "direction": Message.Direction.INCOMING,
                "origin": Message.Origin.CUSTOMER,
                "content": content,
                "provider_id": secrets.token_hex(8).upper(),
                "sort_at": now,
                "created_at": now,
                **fields,
            }
        )

    def failed(self, content: str = "Olá", reason: str = "not_on_whatsapp") -> Message:
        message = self.message(content)
        set_state(message.pk, Delivery.State.FAILED, reason=reason, finished_at=timezone.now(), attempts=5)
        return message


def set_state(message_id: UUID, state: Delivery.State, **fields: Any) -> None:
    assert Delivery.objects.filter(message_id=message_id).update(state=state, **fields) == 1


def make_team(name: str, phone: str = "+55 85 99000-0001") -> Team:
    tenant = Tenant.objects.create(name=f"{name} {secrets.token_hex(4)}")
    user = User.objects.create_user(
        f"{name}-{secrets.token_hex(4)}@example.com".lower(), PASSWORD, first_name=name
    )
    Membership.objects.create(tenant=tenant, user=user, role=Membership.Role.ADMIN)
    instance = Instance.objects.create(
        tenant=tenant,
        name=name,
        base_url="http://evolution.invalid",
        api_key="the-evolution-key",
        webhook_secret="the-webhook-secret",
    )
    conversation, _ = actions.start_conversation(tenant, phone, instance)
    return Team(tenant, user, ApiToken.of(user), instance, conversation)
