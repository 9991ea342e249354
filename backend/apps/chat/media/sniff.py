"""What a file is, by its first bytes: an allow-list. What the sender says it is counts for nothing.

`HEAD` bytes are enough for every answer here. A name only chooses among types that look the same from outside
(a .docx and a .xlsx are both zip archives; all text is text), and can only make an answer stricter otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apps.chat.media import errors, names
from apps.chat.media.errors import MediaRefused

HEAD: Final = 8192

IMAGE, VIDEO, AUDIO, DOCUMENT = "image", "video", "audio", "document"


@dataclass(frozen=True, slots=True)
class Sniffed:
    """`kind` is what the bytes are good for: image, video, audio or document."""

    mime: str
    kind: str


# A browser may show these in place; everything else is a download.
INLINE: Final = frozenset(
    {
        *("image/jpeg", "image/png", "image/webp", "image/gif"),
        *("video/mp4", "video/3gpp", "video/webm", "video/quicktime"),
        *("audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/amr", "audio/wav", "audio/flac"),
    }
)
_PREFIXES: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg", IMAGE),
    (b"\x89PNG\r\n\x1a\n", "image/png", IMAGE),
    (b"GIF87a", "image/gif", IMAGE),
    (b"GIF89a", "image/gif", IMAGE),
    (b"ID3", "audio/mpeg", AUDIO),
    (b"#!AMR", "audio/amr", AUDIO),
    (b"fLaC", "audio/flac", AUDIO),
    (b"{\\rtf", "application/rtf", DOCUMENT),
    (b"Rar!\x1a\x07", "application/vnd.rar", DOCUMENT),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed", DOCUMENT),
    (b"\x1f\x8b\x08", "application/gzip", DOCUMENT),
    (b"8BPS", "image/vnd.adobe.photoshop", DOCUMENT),
    (b"AC10", "image/vnd.dwg", DOCUMENT),
    (b"II*\x00", "image/tiff", DOCUMENT),
    (b"MM\x00*", "image/tiff", DOCUMENT),
)
_RIFF: Final = {
    b"WEBP": ("image/webp", IMAGE),
    b"WAVE": ("audio/wav", AUDIO),
    b"AVI ": ("video/x-msvideo", DOCUMENT),
}
_STILL_BRANDS: Final = frozenset({b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_ODF: Final = "application/vnd.oasis.opendocument."
_ZIP_BY_EXTENSION: Final = {
    "docx": _OFFICE + "wordprocessingml.document",
    "xlsx": _OFFICE + "spreadsheetml.sheet",
    "pptx": _OFFICE + "presentationml.presentation",
    "odt": _ODF + "text",
    "ods": _ODF + "spreadsheet",
    "odp": _ODF + "presentation",
    "epub": "application/epub+zip",
}
_ZIP_PROGRAMS: Final = (b"AndroidManifest.xml", b"META-INF/MANIFEST.MF", b"classes.dex")
_OLE_BY_EXTENSION: Final = {
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
}
_TEXT_BY_EXTENSION: Final = {
    "csv": "text/csv",
    "json": "application/json",
    "ics": "text/calendar",
    "vcf": "text/vcard",
    "xml": "application/xml",
    "ofx": "application/x-ofx",
    "md": "text/markdown",
}
_DER_EXTENSIONS: Final = frozenset({"p7m", "p7s", "p7b", "cer", "crt", "der", "pfx", "p12"})
# Names that a double click would run, whatever the bytes.
_PROGRAMS: Final = frozenset(
    {
        *("exe", "dll", "com", "scr", "bat", "cmd", "msi", "msix", "pif", "cpl", "lnk", "reg", "hta", "swf"),
        *("ps1", "psm1", "vbs", "vbe", "js", "jse", "mjs", "wsf", "wsh", "sh", "bash", "command"),
        *("app", "dmg", "pkg", "deb", "rpm", "jar", "apk"),
        *("svg", "svgz", "html", "htm", "xhtml", "xht", "shtml", "mht", "mhtml", "xsl", "xslt"),
    }
)
_MARKUP: Final = (b"<!doctype html", b"<html", b"<script", b"<svg", b"<iframe", b"<body", b"<head", b"<img")
_XHTML: Final = b"http://www.w3.org/1999/xhtml"
_TEXT_CONTROLS: Final = frozenset(b"\t\n\r\x0b\x0c\x1b")
_BINARY_CONTROLS: Final = bytes(c for c in range(32) if c not in _TEXT_CONTROLS)


def check(head: bytes, kind: str, file_name: str = "") -> Sniffed:
    """What a file is that came as `kind` (image, video, audio, voice, document, sticker).

    Args:
        head: its first bytes, `HEAD` of them or all.

    Raises:
        MediaRefused: it is empty, not on the allow-list, or not what `kind` calls for.
    """
    if not head:
        raise MediaRefused(errors.EMPTY)
    found = sniff(head, file_name)
    if found is None:
        raise MediaRefused(errors.TYPE_REFUSED, skipped=True)
    wanted = {"voice": AUDIO, "sticker": IMAGE}.get(kind, kind)
    if wanted == AUDIO and found.mime in ("video/mp4", "video/3gpp", "video/webm"):
        return Sniffed(
            found.mime.replace("video/", "audio/"), AUDIO
        )  # the same container carries sound alone
    if wanted not in (DOCUMENT, found.kind):
        raise MediaRefused(errors.KIND_MISMATCH)
    return found


def sniff(head: bytes, file_name: str = "") -> Sniffed | None:
    """The type of a file by its first bytes; None for what is not on the allow-list."""
    suffix = names.extension(file_name)
    if suffix in _PROGRAMS or _looks_like_markup(head):
        return None
    for prefix, mime, kind in _PREFIXES:
        if head.startswith(prefix):
            return Sniffed(mime, kind)
    return _container(head) or _sound(head) or _document(head, suffix)


def is_inline(mime: str) -> bool:
    """Whether a browser may show the type in place, where nothing in it can run."""
    return mime in INLINE


def _looks_like_markup(head: bytes) -> bool:
    """Would a browser that guesses take it for a page? Also behind a byte order mark, blanks, or in UTF-16."""
    plain = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x0b\x0c").lower()
    return plain.startswith(b"<") and (_XHTML in plain or any(mark in plain for mark in _MARKUP))


def _container(head: bytes) -> Sniffed | None:
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return Sniffed(*_RIFF[head[8:12]])
    if head[4:8] == b"ftyp":
        return _iso_media(head[8:12])
    if head[:4] == b"\x1a\x45\xdf\xa3":
        if b"webm" in head[:64]:
            return Sniffed("video/webm", VIDEO)
        return Sniffed("video/x-matroska", DOCUMENT)
    return None


def _iso_media(brand: bytes) -> Sniffed:
    if brand in _STILL_BRANDS:
        return Sniffed("image/avif" if brand.startswith(b"avi") else "image/heic", DOCUMENT)
    if brand.startswith((b"M4A", b"M4B")):
        return Sniffed("audio/mp4", AUDIO)
    if brand.startswith((b"3gp", b"3g2")):
        return Sniffed("video/3gpp", VIDEO)
    return Sniffed("video/quicktime" if brand == b"qt  " else "video/mp4", VIDEO)


def _sound(head: bytes) -> Sniffed | None:
    if head[:4] == b"OggS":
        is_sound = any(mark in head[:256] for mark in (b"OpusHead", b"vorbis", b"Speex", b"FLAC"))
        return Sniffed("audio/ogg", AUDIO) if is_sound else None
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    layer = head[1] >> 1 & 3
    if layer == 0 and head[1] & 0xF0 == 0xF0:
        return Sniffed("audio/aac", AUDIO)  # ADTS
    is_frame = layer in (1, 2) and head[1] >> 3 & 3 != 1 and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3
    return Sniffed("audio/mpeg", AUDIO) if is_frame else None


def _document(head: bytes, suffix: str) -> Sniffed | None:
    if b"%PDF-" in head[:1024]:
        return Sniffed("application/pdf", DOCUMENT)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if any(mark in head for mark in _ZIP_PROGRAMS):
            return None
        return Sniffed(_ZIP_BY_EXTENSION.get(suffix, "application/zip"), DOCUMENT)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return Sniffed(_OLE_BY_EXTENSION.get(suffix, "application/x-ole-storage"), DOCUMENT)
    if head[0] == 0x30 and suffix in _DER_EXTENSIONS:
        return Sniffed("application/pkcs7-mime", DOCUMENT)
    if _is_text(head):
        return Sniffed(_TEXT_BY_EXTENSION.get(suffix, "text/plain"), DOCUMENT)
    return None


def _is_text(head: bytes) -> bool:
    """Text in UTF-8, UTF-16 with its mark, or a one-byte code; never a script for a shell."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return not head.startswith(b"#!") and head == head.translate(None, _BINARY_CONTROLS)
