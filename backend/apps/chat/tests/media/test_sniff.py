"""What a file is, by its bytes alone."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chat.media import names, sniff
from apps.chat.media.errors import MediaRefused
from apps.chat.tests.media.world import HTML, MP4, OGG, PDF, SVG, jpeg, png

pytestmark = pytest.mark.any_database


def zipped(*members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member in members:
            archive.writestr(member, "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "name", "mime", "kind"),
    [
        (jpeg(), "", "image/jpeg", "image"),
        (png(), "", "image/png", "image"),
        (b"GIF89a" + bytes(20), "", "image/gif", "image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "", "image/webp", "image"),
        (MP4, "", "video/mp4", "video"),
        (b"\x00\x00\x00\x14ftypqt  ", "", "video/quicktime", "video"),
        (b"\x00\x00\x00\x14ftyp3gp5", "", "video/3gpp", "video"),
        (b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x42\x82\x84webm", "", "video/webm", "video"),
        (b"\x00\x00\x00\x14ftypM4A ", "", "audio/mp4", "audio"),
        (OGG, "", "audio/ogg", "audio"),
        (b"ID3\x04\x00", "", "audio/mpeg", "audio"),
        (b"\xff\xfb\x90\x64" + bytes(20), "", "audio/mpeg", "audio"),
        (b"\xff\xf1\x50\x80" + bytes(20), "", "audio/aac", "audio"),
        (b"#!AMR\n" + bytes(20), "", "audio/amr", "audio"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "", "audio/wav", "audio"),
        (PDF, "r.exe.pdf", "application/pdf", "document"),
        (zipped("a.txt"), "a.zip", "application/zip", "document"),
        (
            zipped("[Content_Types].xml", "word/document.xml"),
            "a.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "document",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20), "a.xls", "application/vnd.ms-excel", "document"),
        (b"nome;valor\r\n\xe7\xe3o;1", "a.csv", "text/csv", "document"),
        ("acentuação".encode(), "leia.txt", "text/plain", "document"),
        (b'<?xml version="1.0"?><nfeProc versao="4.00"/>', "nota.xml", "application/xml", "document"),
        (b"\x00\x00\x00\x18ftypheic", "", "image/heic", "document"),
    ],
)
def test_allowed_types_are_known_by_their_bytes(head: bytes, name: str, mime: str, kind: str) -> None:
    assert sniff.sniff(head, name) == sniff.Sniffed(mime, kind)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (SVG, ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "picture.png"),
        (b"\xef\xbb\xbf  \n" + SVG, ""),
        (SVG.decode().encode("utf-16"), ""),
        (b"<!-- hello --><svg></svg>", ""),
        (HTML, "page.txt"),
        (HTML.upper(), ""),
        (b"<x xmlns='http://www.w3.org/1999/xhtml'/>", "a.xml"),
        (b"MZ\x90\x00\x03", "a.pdf"),
        (b"\x7fELF\x02\x01", ""),
        (b"\xca\xfe\xba\xbe\x00", ""),
        (b"#!/bin/sh\nrm", "a.txt"),
        (zipped("AndroidManifest.xml", "classes.dex"), "game.zip"),
        (b"OggS" + bytes(20) + b"\x80theora", ""),
        (b"plain words", "run.bat"),
        (jpeg(), "photo.jpg.exe"),
        (png(), "photo.svg"),
        (bytes(100), ""),
    ],
)
def test_everything_else_is_refused(head: bytes, name: str) -> None:
    assert sniff.sniff(head, name) is None
    with pytest.raises(MediaRefused) as refused:
        sniff.check(head, "document", name)
    assert refused.value.reason == "media_type_refused"
    assert refused.value.skipped


@pytest.mark.parametrize(
    ("head", "kind"), [(PDF, "image"), (jpeg(), "video"), (MP4, "image"), (OGG, "sticker"), (png(), "voice")]
)
def test_a_file_that_is_not_what_it_came_as_is_refused(head: bytes, kind: str) -> None:
    with pytest.raises(MediaRefused, match="media_kind_mismatch"):
        sniff.check(head, kind)


def test_sound_in_a_film_container_is_sound() -> None:
    assert sniff.check(MP4, "voice").mime == "audio/mp4"


def test_any_allowed_file_may_come_as_a_document() -> None:
    assert sniff.check(jpeg(), "document").mime == "image/jpeg"


def test_nothing_that_a_browser_runs_is_shown_in_place() -> None:
    for mime in ("text/html", "image/svg+xml", "application/xml", "application/pdf", "text/plain"):
        assert not sniff.is_inline(mime)


@given(st.binary(max_size=400), st.text(max_size=30))
def test_sniffing_never_raises(head: bytes, name: str) -> None:
    sniff.sniff(head or b"x", name)


@pytest.mark.parametrize(
    ("given_name", "cleaned"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\evil.exe", "evil.exe"),
        ("/abs/olute.pdf", "olute.pdf"),
        ("C:\\Users\\a\\b.doc", "b.doc"),
        ("a\x00b.pdf", "ab.pdf"),
        ("cod\u202efdp.exe", "codfdp.exe"),
        ("two\r\nSet-Cookie: x.pdf", "x.pdf"),
        ("..", ""),
        (".", ""),
        ("", ""),
        (None, ""),
        ("  relatório 2026.pdf ", "relatório 2026.pdf"),
        ('a"b<c>|?*.txt', "a_b_c_.txt"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_a_name_is_never_a_path(given_name: str | None, cleaned: str) -> None:
    assert names.clean(given_name) == cleaned


@given(st.text(max_size=400))
def test_any_name_becomes_harmless(name: str) -> None:
    cleaned = names.clean(name)
    assert len(cleaned) <= names.LONGEST
    assert not set(cleaned) & set('/\\:\x00\r\n"<>|?*\u202e')
    assert not cleaned.startswith(".") and cleaned == names.clean(cleaned)
