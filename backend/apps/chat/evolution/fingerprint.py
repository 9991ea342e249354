"""What a send says, as a short hash that the evidence of the same send also has.

Evolution takes no id of ours, so an unclear attempt is matched with echoes and stored rows by instance,
address, time and this fingerprint. It must survive what WhatsApp and Evolution may do to the words, and
nothing more: outer white space, line ends and the composition of accents do not count.
"""

import hashlib
import re
import unicodedata
from typing import Final

from .events import MessageEvent

_FIELDS: Final = {
    "text": ("text",),
    "reaction": ("emoji", "target_id"),
    "edit": ("text", "target_id"),
    "delete": ("target_id",),
    "media": ("mediatype", "caption", "file_name"),
}
_OUTER_SPACE: Final = re.compile(r"\A[\s\ufeff]+|[\s\ufeff]+\Z")
MEDIA_KINDS: Final = frozenset({"image", "video", "audio", "document"})


def fingerprint(kind: str, **content: str | None) -> str:
    """Return 32 hex digits that identify what a send of this kind says.

    Kinds and their fields: text(text), reaction(emoji, target_id), edit(text, target_id), delete(target_id),
    media(mediatype, caption, file_name). A missing field counts as empty; a file name counts for documents
    only, the others lose it on the way.

    Raises ValueError for an unknown kind or field: a misspelt field would silently match nothing.
    """
    fields = _FIELDS.get(kind)
    if fields is None:
        raise ValueError(f"Unknown kind of send: {kind!r}.")
    unknown = content.keys() - set(fields)
    if unknown:
        raise ValueError(f"A {kind} has no field {sorted(unknown)[0]!r}.")
    if kind == "media" and content.get("mediatype") != "document":
        content["file_name"] = None
    return _digest(kind, *(_normal(content.get(field) or "") for field in fields))


def fingerprint_of_record(record: MessageEvent) -> str:
    """Return the fingerprint of an echo or a row of findMessages; unknown kinds never match a send."""
    if record.kind == "text":
        return fingerprint("text", text=record.text)
    if record.kind == "reaction":
        return fingerprint("reaction", emoji=record.emoji, target_id=record.target_id)
    mediatype = "audio" if record.kind == "voice" else record.kind
    if mediatype in MEDIA_KINDS:
        return fingerprint("media", mediatype=mediatype, caption=record.caption, file_name=record.file_name)
    return _digest("record", record.message_type, record.key_id)


def _normal(text: str) -> str:
    """Normalise words the way JavaScript's trim and protobuf's UTF-8 leave them at most."""
    joined = text.replace("\r\n", "\n").replace("\r", "\n")
    return _OUTER_SPACE.sub("", unicodedata.normalize("NFC", joined))


def _digest(*parts: str) -> str:
    """Hash length-prefixed parts, so that no two lists of parts share a hash by concatenation."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode(errors="surrogatepass")
        state.update(len(encoded).to_bytes(8, "big"))
        state.update(encoded)
    return state.hexdigest()
