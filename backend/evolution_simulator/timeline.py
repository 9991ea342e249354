"""What happens on WhatsApp's side after a send was accepted: acks, reading, an answer."""

from __future__ import annotations

from collections.abc import Callable

from . import inbound, shapes
from .customers import Customer
from .faults import Fault
from .inbound import Inbound, key_from
from .numbers import is_group
from .shapes import Json
from .simulator import Simulator
from .store import Instance, Row

_STATUS_BROADCAST = "status@broadcast"
_TYPING_SHARE = 0.4


def start(sim: Simulator, instance: Instance, row: Row, text: str, fault: Fault | None) -> None:
    """Schedule the acks of an accepted send and, if the recipient is one who answers, the answer."""
    jid = row.jid
    if is_group(jid) or jid == _STATUS_BROADCAST:
        return
    customer = sim.directory.someone(jid)
    if fault is not None and fault.acks is not None:
        _forced(sim, instance, row, customer, fault.acks)
    elif customer.delivers:
        _usual(sim, instance, row, customer, text)


def apply_status(sim: Simulator, instance: Instance, row: Row, status: str) -> None:
    """Store one status and report it; only for a row the database has, each status once."""
    if instance.messages.get(row.key["id"]) is not row or any(status == known for _, known in row.updates):
        return
    row.updates.append((shapes.new_cuid(), status))
    row.status = status
    data: Json = {"keyId": row.key["id"], "remoteJid": row.jid, "fromMe": row.key["fromMe"], "status": status}
    sim.webhooks.emit(instance, "messages.update", {**data, "instanceId": instance.id, "messageId": row.id})
    if row.jid in instance.chats or sim.directory.someone(row.jid).has_chat:
        chat = {"remoteJid": row.jid, "instanceId": instance.id, "unreadMessages": 0}
        sim.webhooks.emit(instance, "chats.upsert", [chat])


def say(sim: Simulator, instance: Instance, customer: Customer, text: str) -> str:
    """A customer writes a text to an instance; returns the message id."""
    message = {"conversation": text}
    name = customer.name or None
    return inbound.receive(
        sim, instance, Inbound(key_from(customer), message, "conversation", name, shapes.now_seconds())
    )


def _forced(sim: Simulator, instance: Instance, row: Row, customer: Customer, statuses: list[str]) -> None:
    wait = 0.0
    for status in statuses:
        wait += sim.draw(customer.delivery_delay or sim.config.timing.delivery)
        _ack_after(sim, instance, row, status, wait)


def _usual(sim: Simulator, instance: Instance, row: Row, customer: Customer, text: str) -> None:
    timing = sim.config.timing
    wait = sim.draw(customer.delivery_delay or timing.delivery)
    if sim.switches.acks and instance.is_baileys:
        if customer.server_ack:
            _ack_after(sim, instance, row, "SERVER_ACK", wait / 2)
        _ack_after(sim, instance, row, "DELIVERY_ACK", wait)
    if not customer.reads:
        return
    wait += sim.draw(customer.read_delay or timing.read)
    if sim.switches.acks and instance.is_baileys:
        _ack_after(sim, instance, row, "READ", wait)
    if customer.answers:
        _answer_after(sim, instance, customer, text, wait)


def _answer_after(sim: Simulator, instance: Instance, customer: Customer, text: str, wait: float) -> None:
    reply = customer.answer_to(text, sim.rng)
    if reply is None:
        return
    pause = sim.draw(customer.answer_delay or sim.config.timing.answer)
    sim.later(wait + pause * _TYPING_SHARE, _type(sim, instance, customer))
    sim.later(wait + pause, lambda: _say_again(sim, instance, customer, reply))


def _type(sim: Simulator, instance: Instance, customer: Customer) -> Callable[[], None]:
    return lambda: inbound.typing(sim, instance, customer, "composing")


def _say_again(sim: Simulator, instance: Instance, customer: Customer, reply: str) -> None:
    say(sim, instance, customer, reply)


def _ack_after(sim: Simulator, instance: Instance, row: Row, status: str, wait: float) -> None:
    sim.later(
        wait,
        lambda: sim.when_reachable(instance, lambda: apply_status(sim, instance, row, status)),
    )
