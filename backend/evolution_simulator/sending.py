"""The way of one send: fault, address, typing delay, acceptance, echo, answer."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import shapes, timeline
from .calls import Call
from .faults import EMPTY, HANG, NORMAL, Fault, Subject
from .http import Reply, Reset
from .numbers import create_jid, is_group, is_lid
from .shapes import ApiError, Json, bad_request, server_error, undefined
from .store import Instance, Row

_ECHO_PATIENCE = 0.25
"""How long an answer waits for the echo that is to overtake it, seconds."""
_DATABASE_REFUSES_NUL = "DriverAdapterError: unsupported Unicode escape sequence"

Build = Callable[[Json | None], Json]


@dataclass(slots=True)
class Outgoing:
    """A send that passed its endpoint's own checks."""

    number: str
    kind: str
    """The messageType."""
    build: Build
    """Makes `message`; gets the contextInfo to put inside, None in groups."""
    text: str = ""
    """Text or caption, for faults, the accept log and answers."""
    delay_ms: int = 0
    has_context: bool = True
    """Whether contextInfo is also shown beside `message`."""
    quoted: Json | None = None
    media: bytes | None = None
    prepares_media: bool = False
    """Media is uploaded to WhatsApp before the number is even looked at."""
    evolution_message: Json | None = None
    """`message` on the EVOLUTION channel; None means it has no such endpoint."""
    evolution_kind: str | None = None
    participant_in_key: bool = False
    """Buttons repeat the chat's JID as the key's participant."""


async def send(call: Call, out: Outgoing) -> Reply:
    """Carry out one send."""
    sim = call.sim
    fault = sim.faults.take(Subject(call.endpoint, call.instance.name, out.number, out.text))
    if fault is not None:
        await sim.pause(fault.delay)
        if not fault.accept:
            return await canned(fault, call, out.number)
    if sim.config.timing.latency[1]:
        await sim.pause(sim.draw(sim.config.timing.latency))
    jid = address(call, out) if call.instance.is_baileys else out.number
    if out.delay_ms > 0:
        await sim.pause(out.delay_ms / 1000)
        _still_connected(call.instance)
    return await _accept(call, out, jid, fault)


async def canned(fault: Fault, call: Call, number: str | None) -> Reply:
    """The answer of a fault that lets nothing through."""
    await call.sim.pause(fault.answer_delay)
    if fault.answer == HANG:
        await call.sim.pause(fault.hang_seconds)
    if not isinstance(fault.answer, dict):
        return Reset()
    subject = Subject(call.endpoint, call.instance.name if call.target else "", number)
    return fault.reply(subject, create_jid(number or ""))


def address(call: Call, out: Outgoing) -> str:
    """The JID a Baileys send goes to. Raises what an unreachable or unknown recipient gives."""
    instance = call.instance
    if out.prepares_media and not instance.is_open:
        why = (
            "Error: Connection Closed"
            if instance.has_socket
            else f"TypeError: {undefined('waUploadToServer')}"
        )
        raise ApiError(500, [why])
    found = call.sim.directory.resolve(out.number)
    if is_group(found.jid):
        if not instance.is_open or found.jid not in call.sim.groups:
            raise bad_request("[object Object]")
        return found.jid
    if not instance.is_open:
        raise _offline(instance, found.jid)
    if not found.exists:
        raise bad_request({"jid": found.jid, "exists": False, "number": out.number})
    return found.jid


def _offline(instance: Instance, jid: str) -> ApiError:
    if is_lid(jid) or jid.endswith("@broadcast"):
        if instance.own_jid is not None:
            return bad_request("Error: Connection Closed")
        return bad_request(f"TypeError: {undefined('id' if instance.has_socket else 'sendMessage')}")
    return server_error("Connection Closed" if instance.has_socket else undefined("onWhatsApp"))


def _still_connected(instance: Instance) -> None:
    """A socket that died while the send was typing fails it at the last step."""
    if instance.is_baileys and not instance.is_open:
        raise bad_request("Error: Connection Closed")


async def _accept(call: Call, out: Outgoing, jid: str, fault: Fault | None) -> Reply:
    """WhatsApp has it from here on, whatever the caller is told."""
    sim, instance = call.sim, call.instance
    body, row = _baileys(call, out, jid) if instance.is_baileys else _evolution(call, out, jid)
    fits = "\0" not in out.text
    _log(call, out, row, _label(fault, fits))
    if fits and sim.switches.persist and (fault is None or fault.persist):
        instance.messages.add(row)
        if out.media is not None:
            instance.media[row.key["id"]] = out.media
    after = await _echo(call, out, body, fault, fits=fits)
    timeline.start(sim, instance, row, out.text, fault)
    return await _answer(call, out, body, fault, after, fits=fits)


async def _echo(
    call: Call, out: Outgoing, body: Json, fault: Fault | None, *, fits: bool
) -> Callable[[], None] | None:
    """Send `send.message` now, or return what sends it after the answer."""
    sim, instance = call.sim, call.instance
    mode = _echo_mode(call, fault)
    if mode == "none" or (not fits and instance.is_baileys):
        return None
    data = _with_base64(instance, body, out.media)
    if mode == "after":
        return lambda: _emit(call, data)
    if fault is not None and fault.answer == HANG:
        sim.webhooks.emit(instance, "send.message", data)
    else:
        await sim.webhooks.emit_and_wait(instance, "send.message", data, _ECHO_PATIENCE)
    return None


def _emit(call: Call, data: Json) -> None:
    call.sim.webhooks.emit(call.instance, "send.message", data)


def _echo_mode(call: Call, fault: Fault | None) -> str:
    sim = call.sim
    mode = fault.echo if fault is not None and fault.echo != "normal" else sim.switches.echo
    if mode != "random":
        return mode
    if fault is not None and fault.answer == HANG:
        return "before"
    return "before" if sim.rng.random() < sim.config.echo_before else "after"


async def _answer(
    call: Call,
    out: Outgoing,
    body: Json,
    fault: Fault | None,
    after: Callable[[], None] | None,
    *,
    fits: bool,
) -> Reply:
    if fault is None or fault.answer == NORMAL or fault.answer == EMPTY:
        if fault is not None:
            await call.sim.pause(fault.answer_delay)
        reply = Reply(201, body) if fits else Reply(400, shapes.error_body(400, [_DATABASE_REFUSES_NUL]))
    else:
        reply = await canned(fault, call, out.number)
    reply.after = after
    return reply


def _label(fault: Fault | None, fits: bool) -> str:
    answer = NORMAL if fault is None else fault.answer
    if isinstance(answer, dict):
        return str(answer["status"])
    return ("201" if fits else "400") if answer in {NORMAL, EMPTY} else str(answer)


def _log(call: Call, out: Outgoing, row: Row, answered: str) -> None:
    call.sim.accepted.add(
        at=time.time(),
        instance=call.instance.name,
        endpoint=call.endpoint.rpartition("/")[2],
        kind=row.message_type,
        number=out.number,
        jid=row.jid,
        text=out.text,
        key_id=row.key["id"],
        answered=answered,
        first_byte_at=call.first_byte_at,
        body_sha256=call.body_sha256(),
    )


def _baileys(call: Call, out: Outgoing, jid: str) -> tuple[Json, Row]:
    """The 201 body of a Baileys send and its row."""
    instance, now = call.instance, shapes.now_seconds()
    one_to_one = not is_group(jid) and not jid.endswith("@broadcast")
    info = {**shapes.context_info(), **_quote(instance, out.quoted)} if one_to_one else None
    key: Json = {"remoteJid": jid, "fromMe": True, "id": shapes.new_key_id()}
    if out.participant_in_key:
        key["participant"] = jid
    body: Json = {"key": key, "pushName": "Você", "status": "PENDING", "message": out.build(info)}
    shown = info if out.has_context else None
    if shown is not None:
        body["contextInfo"] = shown
    body |= {"messageType": out.kind, "messageTimestamp": now, "instanceId": instance.id, "source": "web"}
    row = Row(key, "Você", out.kind, body["message"], now, "web", instance.id, "PENDING", shown)
    return body, row


def _evolution(call: Call, out: Outgoing, number: str) -> tuple[Json, Row]:
    """The 201 body of an EVOLUTION-channel send: the number verbatim, no status, no push name."""
    instance, now = call.instance, shapes.now_seconds()
    message = dict(out.evolution_message or {})
    if out.quoted is not None:
        message["quoted"] = out.quoted["key"]
    key = {"fromMe": True, "id": shapes.new_uuid(), "remoteJid": number}
    kind = out.evolution_kind or out.kind
    body = {"key": key, "message": message, "messageType": kind, "messageTimestamp": now}
    body |= {"source": "unknown", "instanceId": instance.id}
    return body, Row(key, None, kind, message, now, "unknown", instance.id)


def _quote(instance: Instance, quoted: Json | None) -> Json:
    """What a quote adds to contextInfo; an id nobody knows is sent without one."""
    key = (quoted or {}).get("key") or {}
    message = (quoted or {}).get("message")
    if message is None:
        row = instance.messages.get(key.get("id"))
        if row is None:
            return {}
        key, message = row.key, row.message
    author: Any = instance.own_jid if key.get("fromMe") else key.get("participant") or key.get("remoteJid")
    return {"participant": author, "stanzaId": key.get("id"), "quotedMessage": message}


def _with_base64(instance: Instance, body: Json, media: bytes | None) -> Json:
    if media is None or instance.webhook is None or not instance.webhook.base64:
        return body
    return {**body, "message": {**body["message"], "base64": base64.b64encode(media).decode()}}
