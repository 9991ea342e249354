"""Sending files. A small one goes as base64 in JSON, a large one as a form that is streamed: Evolution's own check of
base64 overflows its stack at 3.35 MB of bytes.

Captions go with pictures, films and documents; WhatsApp has none on sounds. A voice message always goes as a form, for
one kind of instance takes nothing else, unless it quotes, which a form cannot say.
"""

from __future__ import annotations

import mimetypes
import re
from typing import Final

from .client import EvolutionClient, InstanceRef, SendGate
from .forms import FileForm, Form, InlineFile, SentFile
from .jids import is_group, is_sendable
from .verdicts import Outcome, Verdict
from .wire import storable

VOICE: Final = "voice"
SILENT: Final = frozenset({"audio", VOICE})
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")


async def send_file(
    client: EvolutionClient,
    ref: InstanceRef,
    *,
    number: str,
    file: SentFile,
    caption: str,
    quoted_id: str | None,
    inline_bytes: int,
    gate: SendGate,
) -> Outcome:
    """Send one file in exactly one POST and return what came of it.

    Args:
        number: digits with country code, or a full JID.
        inline_bytes: the largest file that goes as base64 in JSON; a larger one cannot quote a message.
    """
    if not is_sendable(number):
        return Outcome(Verdict.NOT_SENT, "body_rejected", permanent=True, alert=True, detail="no address")
    if storable(caption) != caption:
        return Outcome(Verdict.NOT_SENT, "text_unsendable", permanent=True)
    endpoint = "sendWhatsAppAudio" if file.kind == VOICE else "sendMedia"
    said = {"number": number} if file.kind == VOICE else _described(number, file, caption)
    body: Form
    if file.size > inline_bytes or (file.kind == VOICE and not quoted_id):
        body = FileForm(said, file, _ascii_name(file))
    else:
        quoted = {"quoted": {"key": {"id": quoted_id}}} if quoted_id else {}
        body = InlineFile({**said, **quoted}, file, "audio" if file.kind == VOICE else "media")
    return await client.post_once(ref, "message", endpoint, body, gate, to_group=is_group(number))


def _described(number: str, file: SentFile, caption: str) -> dict[str, str]:
    said = {"number": number, "mediatype": file.kind, "mimetype": file.mime_type, "fileName": _named(file)}
    return {**said, "caption": caption} if caption and file.kind not in SILENT else said


def _named(file: SentFile) -> str:
    """Evolution wants a name with the right extension for every file."""
    return file.name or f"{file.kind}{mimetypes.guess_extension(file.mime_type) or '.bin'}"


def _ascii_name(file: SentFile) -> str:
    """What a form's header can carry whatever reads it; the name that counts goes as a field."""
    return _PLAIN.sub("_", _named(file))[-64:]
