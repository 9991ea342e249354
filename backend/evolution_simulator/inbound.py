"""What WhatsApp tells an instance: messages, edits, revocations, typing. Four webhooks per message."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from typing import Any

from . import shapes
from .customers import Customer
from .numbers import is_group, is_lid
from .shapes import Json
from .simulator import Simulator
from .store import Contact, Instance, Row


@dataclass(slots=True)
class Inbound:
    """One message WhatsApp delivers. `key` needs remoteJid and fromMe; the id is made if missing."""

    key: Json
    message: Json
    message_type: str
    push_name: str | None
    timestamp: int
    source: str = "ios"
    context_info: Json | None = None
    has_context: bool = False
    media: bytes | None = None


def key_from(customer: Customer, *, group: str | None = None, key_id: str | None = None) -> Json:
    """The key of a message a customer sends, one-to-one or in a group; LID addressing if they have one."""
    author = customer.lid or customer.jid
    key: Json = {"remoteJid": group or author, "fromMe": False, "id": key_id or shapes.new_phone_key_id()}
    key["addressingMode"] = "lid" if is_lid(author) else "pn"
    alt = customer.jid if is_lid(author) and customer.lid_alt else None
    if group:
        key["participant"] = author
    if alt:
        key["participantAlt" if group else "remoteJidAlt"] = alt
    return key


def key_to(customer: Customer, *, key_id: str | None = None) -> Json:
    """The key of a message typed on the instance's own phone to a customer."""
    key = key_from(customer, key_id=key_id)
    return {**key, "fromMe": True}


def receive(sim: Simulator, instance: Instance, inbound: Inbound) -> str:
    """Let WhatsApp deliver a message, at once or when the instance is reachable; returns its id."""
    sim.when_reachable(instance, lambda: _deliver(sim, instance, inbound))
    return str(inbound.key["id"])


def inject(sim: Simulator, instance: Instance, inbound: Inbound) -> None:
    """Hand a message to the EVOLUTION channel, which works in any connection state."""
    _deliver_evolution(sim, instance, inbound)


def typing(sim: Simulator, instance: Instance, customer: Customer, presence: str) -> None:
    """A customer's composing, recording or paused."""
    jid = customer.lid or customer.jid
    if instance.is_open:
        shown = {"id": jid, "presences": {jid: {"lastKnownPresence": presence}}}
        sim.webhooks.emit(instance, "presence.update", shown)


def edit(sim: Simulator, instance: Instance, customer: Customer, key_id: str, text: str | None) -> None:
    """A customer edits a message they sent; without a text, they revoke it."""
    sim.when_reachable(instance, lambda: _edit(sim, instance, customer, key_id, text))


def _deliver(sim: Simulator, instance: Instance, inbound: Inbound) -> None:
    jid = inbound.key["remoteJid"]
    chat = [{"remoteJid": jid, "instanceId": instance.id}]
    if not instance.is_baileys:
        _deliver_evolution(sim, instance, inbound)
        return
    sim.webhooks.emit(instance, "chats.update", chat)
    if not inbound.key["fromMe"]:
        _contact_seen(sim, instance, inbound.key.get("participant") or jid)
    if instance.silenced and sim.switches.silence_after_logout:
        return
    data = _store(instance, inbound)
    sim.webhooks.emit(instance, "messages.upsert", _with_base64(instance, data, inbound.media))
    push_name = "" if inbound.key["fromMe"] else inbound.push_name
    contact = _remember(sim, instance, jid, push_name)
    raw = {
        "remoteJid": jid,
        "pushName": push_name,
        "profilePicUrl": contact.picture,
        "instanceId": instance.id,
    }
    sim.webhooks.emit(instance, "contacts.update", raw)


def _deliver_evolution(sim: Simulator, instance: Instance, inbound: Inbound) -> None:
    """The EVOLUTION channel's objects instead of lists, and its own choice of events."""
    jid = inbound.key["remoteJid"]
    kept = {name: inbound.key[name] for name in ("id", "remoteJid", "fromMe")}
    data: Json = {"key": kept}
    if inbound.push_name is not None:
        data["pushName"] = inbound.push_name
    data["message"] = inbound.message
    if inbound.message_type:
        data["messageType"] = inbound.message_type
    data |= {"messageTimestamp": shapes.now_seconds(), "source": "unknown", "instanceId": instance.id}
    sim.webhooks.emit(instance, "messages.upsert", data)
    if not inbound.message_type:
        return
    push_name, seen = inbound.push_name, {"remoteJid": jid, "instanceId": instance.id}
    message, kind = inbound.message, inbound.message_type
    instance.messages.add(
        Row(kept, push_name, kind, message, data["messageTimestamp"], "unknown", instance.id)
    )
    known = jid in instance.chats
    if push_name is not None:
        sim.webhooks.emit(
            instance, "contacts.upsert", {"remoteJid": jid, "pushName": push_name, "instanceId": instance.id}
        )
    if known:
        sim.webhooks.emit(instance, "chats.update", seen)
    sim.webhooks.emit(instance, "chats.upsert", seen)
    instance.chats.setdefault(jid, Contact(jid))
    _remember(sim, instance, jid, push_name)


def _store(instance: Instance, inbound: Inbound) -> Json:
    """Put the row in place and return the `data` of messages.upsert."""
    status = "SERVER_ACK" if inbound.key["fromMe"] else "DELIVERY_ACK"
    row = Row(
        inbound.key, inbound.push_name, inbound.message_type, inbound.message, inbound.timestamp,
        inbound.source, instance.id, status, inbound.context_info,
    )  # fmt: skip
    instance.messages.add(row)
    if inbound.media is not None:
        instance.media[inbound.key["id"]] = inbound.media
    data: Json = {
        "key": inbound.key,
        "pushName": inbound.push_name,
        "status": status,
        "message": inbound.message,
    }
    if inbound.has_context:
        data["contextInfo"] = inbound.context_info
    return {
        **data,
        "messageType": inbound.message_type,
        "messageTimestamp": inbound.timestamp,
        "instanceId": instance.id,
        "source": inbound.source,
    }


def _with_base64(instance: Instance, data: Json, media: bytes | None) -> Json:
    if media is None or instance.webhook is None or not instance.webhook.base64:
        return data
    return {**data, "message": {**data["message"], "base64": base64.b64encode(media).decode()}}


def _contact_seen(sim: Simulator, instance: Instance, jid: str) -> None:
    """The `contacts.update` list: a picture was looked up, no name."""
    contact = _remember(sim, instance, jid, None)
    seen = {"remoteJid": jid, "profilePicUrl": contact.picture, "instanceId": instance.id}
    sim.webhooks.emit(instance, "contacts.update", [seen])


def _remember(sim: Simulator, instance: Instance, jid: str, name: str | None) -> Contact:
    contact = instance.contacts.get(jid)
    if contact is None:
        contact = instance.contacts[jid] = Contact(
            jid, picture=_picture(sim, jid) if instance.is_baileys else None
        )
    if name:
        contact.name, contact.updated_at = name, time.time()
    return contact


def _picture(sim: Simulator, jid: str) -> str | None:
    if is_group(jid):
        return f"https://pps.example.com/{jid.split('@')[0]}.jpg" if jid in sim.groups else None
    customer = sim.directory.get(jid)
    return customer.picture if customer else None


def _edit(sim: Simulator, instance: Instance, customer: Customer, key_id: str, text: str | None) -> None:
    data: Json = {"key": {"remoteJid": instance.own_jid, "fromMe": True, "id": key_id}}
    if text is None:
        data["type"] = "REVOKE"
    else:
        data |= {"type": "MESSAGE_EDIT", "editedMessage": {"conversation": text}}
        data["timestampMs"] = str(time.time_ns() // 1_000_000)
    _stall(sim, instance, sim.webhooks.emit(instance, "messages.edited", data))
    _contact_seen(sim, instance, customer.lid or customer.jid)
    row = instance.messages.get(key_id)
    if row is None:
        return
    row.message = None if text is None else {"conversation": text}
    row.updates.append((shapes.new_cuid(), "DELETED" if text is None else "EDITED"))
    if text is None:
        names = ("remoteJid", "fromMe", "id", "participant", "addressingMode")
        revoked = {name: row.key[name] for name in names if name in row.key}
        sim.webhooks.emit(instance, "messages.delete", revoked)


def _stall(sim: Simulator, instance: Instance, tasks: list[asyncio.Task[None]]) -> None:
    """With the switch on, inbound waits until every attempt of an edit's webhook is over."""
    if not sim.switches.stall_on_edited or not tasks:
        return
    instance.stalled = True

    def resume(_: Any) -> None:
        if all(task.done() for task in tasks):
            instance.stalled = False
            sim.release(instance)

    for task in tasks:
        task.add_done_callback(resume)
