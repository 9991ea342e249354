"""/instance/*: create, connect, list, restart, log out, delete."""

from __future__ import annotations

from typing import Any

from . import connection, shapes, webhook_settings
from .calls import Call
from .connection import state_body
from .http import Reply
from .shapes import ApiError, Json, bad_request, undefined
from .store import BAILEYS, EVOLUTION, Instance

_NEVER_RAN = {"error": True, "message": "[object Object]"}
_QR_FACTOR = 2.5
"""create with qrcode:true takes about this many times as long as connect."""


async def create(call: Call) -> Reply:
    """POST /instance/create."""
    body, sim = call.body, call.sim
    if body.get("integration") not in {BAILEYS, EVOLUTION}:
        raise bad_request("Invalid integration")
    hook = _checked_hook(body.get("webhook"))
    token = body.get("token") or shapes.new_uuid().upper()
    instance = sim.store.create(body["instanceName"], body["integration"], token, body.get("number"))
    instance.settings |= {name: body[name] for name in instance.settings if name in body}
    if hook:
        webhook_settings.apply(instance, {**hook, "enabled": True})
        if sim.on_webhook_set:
            sim.on_webhook_set(instance)
    sim.webhooks.emit(instance, "instance.create", {"instanceName": instance.name, "instanceId": instance.id})
    answer = _created(instance)
    if body.get("qrcode") is True and instance.is_baileys:
        connection.set_state(sim, instance, "connecting")
        await sim.pause(sim.config.timing.connect * _QR_FACTOR)
        answer["instance"]["status"] = "connecting"
        answer["qrcode"] = connection.new_qr(sim, instance, pairing=bool(instance.number))
    return Reply(201, answer)


async def connection_state(call: Call) -> Reply:
    """GET /instance/connectionState."""
    return Reply(200, state_body(call.instance))


async def connect(call: Call) -> Reply:
    """GET /instance/connect: a QR code (or pairing code), or the state if it is open already."""
    instance, sim = call.instance, call.sim
    if instance.is_open:
        return Reply(200, state_body(instance))
    if not instance.is_baileys:
        await sim.pause(sim.config.timing.connect)
        return Reply(200, {})
    if instance.state == "close":
        connection.set_state(sim, instance, "connecting")
        await sim.pause(sim.config.timing.connect)
        if instance.is_open:
            return Reply(200, state_body(instance))
        return Reply(200, connection.new_qr(sim, instance, pairing="number" in call.query))
    if not instance.qr_count:
        return Reply(200, {"count": 0})
    return Reply(200, connection.new_qr(sim, instance, pairing="number" in call.query))


async def restart(call: Call) -> Reply:
    """POST /instance/restart: a closed instance gives 200 with an error in it."""
    return Reply(200, _NEVER_RAN if call.instance.state == "close" else state_body(call.instance))


async def logout(call: Call) -> Reply:
    """DELETE /instance/logout: answers first, logs out afterwards."""
    instance = call.instance
    if instance.state == "close":
        raise bad_request(f'The "{instance.name}" instance is not connected')
    return Reply(200, _success("Instance logged out"), lambda: connection.log_out(call.sim, instance))


async def delete(call: Call) -> Reply:
    """DELETE /instance/delete: the name is free at once."""
    instance, sim = call.instance, call.sim
    sim.store.instances.pop(instance.name, None)
    sim.webhooks.emit(instance, "instance.delete", {"instanceName": instance.name, "instanceId": instance.id})
    sim.webhooks.emit(instance, "remove.instance", None)
    if instance.is_baileys and instance.state != "close":
        connection.log_out(sim, instance)
    instance.state = "close"
    return Reply(200, _success("Instance deleted"))


async def fetch_instances(call: Call) -> Reply:
    """GET /instance/fetchInstances: all, or those of the token, filtered by name, id or number."""
    wanted = [name for name in ("instanceName", "instanceId", "number") if call.query.get(name)]
    found = [
        row for row in map(_row, _visible(call)) if all(_fits(row, name, call.query[name]) for name in wanted)
    ]
    if wanted and not found:
        raise ApiError(404, [f'Instance "{call.query[wanted[0]]}" not found'])
    return Reply(200, found)


def _visible(call: Call) -> list[Instance]:
    key = call.headers.get("apikey")
    everyone = list(call.sim.store.instances.values())
    if key == call.sim.config.api_key:
        return everyone
    own = [instance for instance in everyone if instance.token == key]
    if not own:
        raise ApiError(401, "Unauthorized")
    return own


def _fits(row: Json, name: str, value: str) -> bool:
    column = {"instanceName": "name", "instanceId": "id", "number": "number"}[name]
    return bool(row[column] == value)


def _checked_hook(hook: Any) -> Json | None:
    """The webhook of a create body; without a list of events the new instance does not survive."""
    if not isinstance(hook, dict) or not hook.get("url"):
        return None
    if not isinstance(hook.get("events"), list):
        raise bad_request(undefined("length"))
    return hook


def _created(instance: Instance) -> Json:
    hook = instance.webhook
    shown: Json = {}
    if hook is not None:
        shown = {"webhookUrl": hook.url, "webhookHeaders": hook.headers}
        shown |= {"webhookByEvents": hook.by_events, "webhookBase64": hook.base64}
    about: Json = {"instanceName": instance.name, "instanceId": instance.id}
    about["integration"] = instance.integration
    about |= {"webhookWaBusiness": None, "accessTokenWaBusiness": "", "status": instance.state}
    rest: Json = {name: {} for name in ("websocket", "rabbitmq", "nats", "sqs")}
    return {
        "instance": about,
        "hash": instance.token,
        "webhook": shown,
        **rest,
        "settings": dict(instance.settings),
    }


def _success(message: str) -> Json:
    return {"status": "SUCCESS", "error": False, "response": {"message": message}}


def _row(instance: Instance) -> Json:
    never = {"disconnectionReasonCode": None, "disconnectionObject": None, "disconnectionAt": None}
    times = {"createdAt": shapes.iso(instance.created_at), "updatedAt": shapes.iso(instance.updated_at)}
    setting = {"id": instance.settings_id, **instance.settings, **times, "instanceId": instance.id}
    counts = {
        "Message": len(instance.messages),
        "Contact": len(instance.contacts),
        "Chat": len(instance.chats),
    }
    return {
        "id": instance.id, "name": instance.name, "connectionStatus": instance.state,
        "ownerJid": instance.own_jid, "profileName": instance.profile_name, "profilePicUrl": None,
        "integration": instance.integration, "number": instance.number, "businessId": None,
        "token": instance.token, "clientName": "evolution_simulator",
        **(instance.disconnection or never), **times,
        "Chatwoot": None, "Proxy": None, "Rabbitmq": None, "Nats": None, "Sqs": None, "Websocket": None,
        "Setting": setting, "_count": counts,
    }  # fmt: skip
