"""Changing what is at WhatsApp already. Doing any of these twice shows nothing twice, unlike a send."""

from __future__ import annotations

from .client import EvolutionClient, InstanceRef, SendGate
from .verdicts import Outcome


async def edit_text(
    client: EvolutionClient,
    ref: InstanceRef,
    *,
    number: str,
    remote_jid: str,
    key_id: str,
    text: str,
    gate: SendGate,
) -> Outcome:
    """Give a message of ours another text. Evolution answers 200 with the edit's own key."""
    key = {"id": key_id, "remoteJid": remote_jid, "fromMe": True}
    payload: dict[str, object] = {"number": number, "text": text, "key": key}
    return await client.post_once(ref, "chat", "updateMessage", payload, gate)


async def delete_for_everyone(
    client: EvolutionClient, ref: InstanceRef, *, remote_jid: str, key_id: str, gate: SendGate
) -> Outcome:
    """Delete a message of ours at both ends. An id that WhatsApp does not know is answered 201 as well."""
    payload: dict[str, object] = {"id": key_id, "remoteJid": remote_jid, "fromMe": True}
    return await client.post_once(ref, "chat", "deleteMessageForEveryone", payload, gate, method="DELETE")
