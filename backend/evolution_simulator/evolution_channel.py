"""POST /webhook/evolution: how messages get into the EVOLUTION channel. No apikey is asked for."""

from __future__ import annotations

from . import inbound, shapes
from .calls import Call
from .http import Reply
from .inbound import Inbound


async def inject(call: Call) -> Reply:
    """Route a message by `numberId`; an unknown one, or a body without it, gets an empty 200."""
    body, sim = call.body, call.sim
    number = body.get("numberId")
    found = [i for i in sim.store.instances.values() if number and i.number == number and not i.is_baileys]
    if not found:
        return Reply(200, "")
    key = body.get("key")
    if not isinstance(key, dict) or "message" not in body:
        return Reply(200, {"status": "success"})
    full = {"id": shapes.new_uuid(), "remoteJid": "", "fromMe": False, **key}
    arrived = Inbound(
        full, body["message"], body.get("messageType") or "", body.get("pushName"), shapes.now_seconds()
    )
    return Reply(200, {"status": "success"}, lambda: inbound.inject(sim, found[0], arrived))
