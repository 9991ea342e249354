"""Changing what is at WhatsApp already. Doing any of these twice shows nothing twice, unlike a send."""

from __future__ import annotations

from .client import EvolutionClient, InstanceRef, SendGate
from .jids import is_group
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


async def react(
    client: EvolutionClient,
    ref: InstanceRef,
    *,
    remote_jid: str,
    key_id: str,
    from_me: bool,
    participant: str | None,
    emoji: str,
    gate: SendGate,
) -> Outcome:
    """Put our emoji on a message, in place of the one that is there; an empty one takes it away.

    `participant` names who wrote the message, where that was somebody in a group. The answer is a message of its own.
    """
    key: dict[str, object] = {"id": key_id, "remoteJid": remote_jid, "fromMe": from_me}
    if participant:
        key["participant"] = participant
    payload: dict[str, object] = {"key": key, "reaction": emoji}
    return await client.post_once(
        ref, "message", "sendReaction", payload, gate, to_group=is_group(remote_jid)
    )
