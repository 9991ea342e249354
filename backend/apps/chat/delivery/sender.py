"""One stepped row to Evolution: the only place that POSTs a message, once per step."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from apps.chat.delivery import failpoints
from apps.chat.delivery.lane import Step
from apps.chat.delivery.presence import Presence
from apps.chat.delivery.settle import finish_seconds
from apps.chat.evolution import changes, media_sends
from apps.chat.evolution.client import EvolutionClient, InstanceRef
from apps.chat.evolution.forms import SentFile
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.media import store
from apps.chat.models import Delivery


@dataclass(frozen=True, slots=True)
class SelfFence:
    """T2: bytes may leave only within CHAT_SEND_FENCE_SECONDS of before the step was issued, by our own clock."""

    began: float
    presence: Presence
    finish: float = 0.0

    def may_send(self) -> bool:
        """Asked at the last instant before bytes leave."""
        failpoints.hit("bytes_out")
        return self._within(settings.CHAT_SEND_FENCE_SECONDS)

    def may_finish(self) -> bool:
        """Asked before the end of a file's body leaves, without which nobody has a request: within `finish` seconds."""
        return self._within(self.finish)

    def _within(self, seconds: float) -> bool:
        return time.monotonic() - self.began <= seconds and self.presence.alive


async def send(client: EvolutionClient, step: Step, fence: SelfFence) -> Outcome:
    """What came of the one POST of this step."""
    ref = InstanceRef(step.instance_name, step.base_url, step.api_key)
    number = address_of(step.remote_jid)
    if step.kind == Delivery.Kind.TEXT:
        return await client.send_text(
            ref, number=number, text=step.content, quoted_id=step.quoted_id or None, gate=fence
        )
    if step.kind == Delivery.Kind.MEDIA:
        return await media_sends.send_file(
            client,
            ref,
            number=number,
            file=file_of(step.payload or {}),
            caption=step.content,
            quoted_id=step.quoted_id or None,
            inline_bytes=settings.CHAT_MEDIA_INLINE_BYTES,
            gate=replace(fence, finish=finish_seconds(step.kind, step.payload)),
        )
    if step.target_id is None:
        return Outcome(Verdict.NOT_SENT, "target_not_sent", permanent=True)
    at = {"remote_jid": step.remote_jid, "key_id": step.target_id}
    if step.kind == Delivery.Kind.EDIT:
        text = (step.payload or {})["text"]
        return await changes.edit_text(client, ref, number=number, text=text, gate=fence, **at)
    if step.kind == Delivery.Kind.DELETE:
        return await changes.delete_for_everyone(client, ref, gate=fence, **at)
    if step.kind == Delivery.Kind.REACTION:
        said = step.payload or {}
        return await changes.react(
            client,
            ref,
            from_me=said["from_me"],
            participant=said.get("participant"),
            emoji=said["emoji"],
            gate=fence,
            **at,
        )
    return Outcome(Verdict.NOT_SENT, "kind_unknown", permanent=True)


def file_of(payload: dict[str, Any]) -> SentFile:
    """The file that a MEDIA delivery sends: its facts as they were when it was queued, its bytes from the storage."""
    return SentFile(
        kind=payload["kind"],
        mime_type=payload["mime_type"],
        name=payload["file_name"],
        size=payload["size"],
        open=lambda: store.open_kept(payload["file"]),
    )


def address_of(remote_jid: str) -> str:
    """What Evolution wants in `number`: bare digits for a phone, the whole JID for a group or a LID."""
    user, _, server = remote_jid.partition("@")
    return user if server in ("", "s.whatsapp.net", "c.us") else remote_jid
