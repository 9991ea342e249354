"""/webhook/* and /settings/*."""

from __future__ import annotations

import time

from . import shapes
from .calls import Call
from .http import Reply
from .shapes import Json, server_error, undefined
from .store import Instance, Webhook
from .webhook_events import EVENTS


def apply(instance: Instance, wanted: Json) -> Webhook:
    """Set an instance's webhook; what is left out keeps its old value, no events means all of them."""
    old = instance.webhook
    enabled = bool(wanted["enabled"])
    hook = Webhook(
        url=wanted["url"],
        enabled=enabled,
        events=(list(wanted["events"]) or list(EVENTS)) if enabled else [],
        headers=wanted.get("headers", old.headers if old else {}),
        by_events=wanted.get("byEvents", old.by_events if old else False),
        base64=wanted.get("base64", old.base64 if old else False),
    )
    if old is not None:
        hook.id, hook.created_at = old.id, old.created_at
    hook.updated_at = time.time()
    instance.webhook = hook
    return hook


async def set_webhook(call: Call) -> Reply:
    """POST /webhook/set."""
    wanted = call.body["webhook"]
    if wanted["enabled"] and "events" not in wanted:
        raise server_error(undefined("length"))
    hook = apply(call.instance, wanted)
    if call.sim.on_webhook_set:
        call.sim.on_webhook_set(call.instance)
    return Reply(201, _row(call.instance, hook))


async def find_webhook(call: Call) -> Reply:
    """GET /webhook/find: the row or null."""
    hook = call.instance.webhook
    return Reply(200, _row(call.instance, hook) if hook else None)


async def set_settings(call: Call) -> Reply:
    """POST /settings/set."""
    call.instance.settings |= call.body
    return Reply(201, {"settings": {"instanceName": call.instance.name, "settings": call.body}})


async def find_settings(call: Call) -> Reply:
    """GET /settings/find."""
    return Reply(200, call.instance.settings)


def _row(instance: Instance, hook: Webhook) -> Json:
    return {
        "id": hook.id, "url": hook.url, "headers": hook.headers, "enabled": hook.enabled,
        "events": hook.events, "webhookByEvents": hook.by_events, "webhookBase64": hook.base64,
        "createdAt": shapes.iso(hook.created_at), "updatedAt": shapes.iso(hook.updated_at),
        "instanceId": instance.id,
    }  # fmt: skip
