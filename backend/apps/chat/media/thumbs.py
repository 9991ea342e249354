"""A small picture of a file, and how long it plays; made of untrusted bytes, so bounded in every way.

Pictures go through Pillow, one at a time in a process: the header is believed only as far as deciding whether to
decode at all. Films and sounds go through ffmpeg when this machine has it: its demuxer is chosen by us, it opens
nothing but the file, and it has limits of memory and time. Without ffmpeg they simply have no small picture.
Blocking: call them from a thread.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from PIL import Image, ImageOps, UnidentifiedImageError

from apps.chat.media import errors, ffmpeg
from apps.chat.media.errors import MediaRefused
from apps.chat.media.sniff import AUDIO, IMAGE, VIDEO, Sniffed

logger = logging.getLogger(__name__)

EDGE: Final = 480
QUALITY: Final = 78
# What must be decoded whole takes four bytes a pixel; a baseline JPEG is decoded at an eighth of its size.
MOST_WHOLE_PIXELS: Final = 16_000_000
_FORMATS: Final = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
}
_one_at_a_time = threading.Lock()
Image.MAX_IMAGE_PIXELS = None  # ours is CHAT_MEDIA_MAX_PIXELS, asked before anything is decoded


@dataclass(frozen=True, slots=True)
class Look:
    """What a file looks and sounds like; None for what is unknown. `thumbnail` is a JPEG."""

    thumbnail: bytes | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    waveform: list[int] | None = None


def look(path: Path, what: Sniffed) -> Look:
    """Look at a whole file.

    Raises:
        MediaRefused: it is a picture that cannot be decoded, or one with too many pixels.
    """
    if what.kind == IMAGE:
        return of_image(path, what.mime)
    if what.kind == VIDEO:
        return _quietly(_of_video, path, what.mime)
    if what.kind == AUDIO:
        return _quietly(_of_audio, path, what.mime)
    return Look()


def of_image(path: Path, mime: str) -> Look:
    """Size and thumbnail of a picture. Raises MediaRefused as `look`."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about odd metadata
        try:
            with Image.open(path, formats=[_FORMATS[mime]]) as image:
                return _look_at(image)
        except MediaRefused:
            raise
        except MemoryError:
            raise MediaRefused(errors.TOO_MANY_PIXELS) from None
        except (
            UnidentifiedImageError,
            OSError,
            ValueError,
            SyntaxError,
            IndexError,
            ArithmeticError,
        ) as error:
            raise MediaRefused(errors.DAMAGED) from error
        except Exception as error:
            logger.warning("media: Pillow stumbled", extra={"error": type(error).__name__})
            raise MediaRefused(errors.DAMAGED) from error


def _look_at(image: Image.Image) -> Look:
    width, height = image.size
    if width * height > settings.CHAT_MEDIA_MAX_PIXELS:
        raise MediaRefused(errors.TOO_MANY_PIXELS)
    if _orientation(image) >= 5:  # stored lying on its side
        width, height = height, width
    if not _is_cheap(image):
        return Look(width=width, height=height)
    return Look(thumbnail=_small(image), width=width, height=height)


def _is_cheap(image: Image.Image) -> bool:
    baseline = image.format == "JPEG" and not image.info.get("progressive")
    return baseline or image.width * image.height <= MOST_WHOLE_PIXELS


def _orientation(image: Image.Image) -> int:
    if image.format != "JPEG":
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except (ValueError, TypeError, SyntaxError, OSError, OverflowError):
        return 1


def _small(image: Image.Image) -> bytes:
    """A JPEG of at most EDGE pixels a side, upright, on white."""
    image.draft("RGB", (EDGE, EDGE))
    image.load()
    image.thumbnail((EDGE, EDGE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        ground = Image.new("RGB", upright.size, "white")
        ground.paste(upright, mask=upright.getchannel("A"))
        upright = ground
    out = io.BytesIO()
    upright.convert("RGB").save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def _quietly(read: Callable[[Path, str], Look], path: Path, mime: str) -> Look:
    """Films and sounds are kept whatever ffmpeg says of them: players know more formats than it was built with."""
    if not ffmpeg.available():
        return Look()
    try:
        return read(path, mime)
    except ffmpeg.FfmpegFailed as error:
        logger.info("media: no look at a file", extra={"mime": mime, "error": str(error)})
        return Look()


def _of_video(path: Path, mime: str) -> Look:
    facts = ffmpeg.facts(path, mime)
    frame = ffmpeg.frame(path, mime, EDGE) if facts.width else None
    return Look(frame, facts.width, facts.height, facts.duration_ms)


def _of_audio(path: Path, mime: str) -> Look:
    facts = ffmpeg.facts(path, mime)
    return Look(duration_ms=facts.duration_ms, waveform=ffmpeg.waveform(path, mime, facts.duration_ms))
