"""ffmpeg and ffprobe, when this machine has them: a frame, a length, the loudness over time.

Every run names its demuxer (by type, never by guess: a playlist would make ffmpeg open what it names), may open only
files and pipes, and has limits on memory, processor time and output.
"""

from __future__ import annotations

import array
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LEVELS: Final = 64
_MEMORY: Final = 512 * 1024 * 1024
_SECONDS: Final = 20
_MOST_OUTPUT: Final = 4 * 1024 * 1024
_MOST_VOICE: Final = 16 * 1024 * 1024
_LONGEST_MS: Final = 24 * 3600 * 1000
_RATE: Final = 4000
_MOST_SAMPLED_SECONDS: Final = 600
_DEMUXERS: Final = {
    "video/mp4": "mov",
    "video/3gpp": "mov",
    "video/quicktime": "mov",
    "audio/mp4": "mov",
    "audio/3gpp": "mov",
    "video/webm": "matroska",
    "audio/webm": "matroska",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/amr": "amr",
    "audio/wav": "wav",
    "audio/flac": "flac",
}


class FfmpegFailed(Exception):
    """It ended with an error, took too long, or said what cannot be understood."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a film or sound says of itself; None for what it does not."""

    duration_ms: int | None = None
    width: int | None = None
    height: int | None = None


@functools.cache
def available() -> bool:
    """Are ffmpeg and ffprobe on PATH?"""
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def facts(path: Path, mime: str) -> Facts:
    """Length and dimensions. Raises FfmpegFailed."""
    shown = "format=duration:stream=codec_type,width,height,duration"
    output = _run("ffprobe", [*_input(path, mime), "-show_entries", shown, "-of", "json"])
    try:
        found: dict[str, Any] = json.loads(output)
        streams = [row for row in found.get("streams", []) if row.get("width") and row.get("height")]
        lengths = [found.get("format", {}), *found.get("streams", [])]
        seconds = next((float(row["duration"]) for row in lengths if row.get("duration")), 0.0)
        size = (int(streams[0]["width"]), int(streams[0]["height"])) if streams else (None, None)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise FfmpegFailed("unreadable") from error
    length = int(seconds * 1000) if 0 < seconds * 1000 <= _LONGEST_MS else None
    return Facts(length, *size)


def frame(path: Path, mime: str, edge: int) -> bytes | None:
    """The first frame as a JPEG of at most `edge` pixels a side. Raises FfmpegFailed."""
    scale = f"scale=w='min({edge},iw)':h='min({edge},ih)':force_original_aspect_ratio=decrease"
    what = ["-an", "-sn", "-dn", "-frames:v", "1", "-vf", scale]
    return _run("ffmpeg", [*_input(path, mime), *what, "-f", "image2pipe", "-c:v", "mjpeg", "pipe:1"]) or None


def waveform(path: Path, mime: str, duration_ms: int | None) -> list[int] | None:
    """The loudness over time as LEVELS numbers from 0 to 100; None for a sound that has none. Raises FfmpegFailed."""
    if duration_ms is None or duration_ms > _MOST_SAMPLED_SECONDS * 1000:
        return None
    what = ["-vn", "-t", str(_MOST_SAMPLED_SECONDS), "-ac", "1", "-ar", str(_RATE), "-f", "s16le", "pipe:1"]
    most = 2 * _RATE * (_MOST_SAMPLED_SECONDS + 1)
    samples = array.array("h")
    samples.frombytes(_even(_run("ffmpeg", [*_input(path, mime), *what], most)))
    if sys.byteorder == "big":
        samples.byteswap()
    return levels(samples)


def to_voice(path: Path, mime: str) -> bytes:
    """A sound as WhatsApp wants voice messages: Ogg/Opus with one channel, at most 16 MiB. Raises FfmpegFailed."""
    codec = ["-vn", "-sn", "-dn", "-map_metadata", "-1", "-ac", "1", "-ar", "48000"]
    codec += ["-c:a", "libopus", "-b:a", "32k"]
    made = _run("ffmpeg", [*_input(path, mime), *codec, "-f", "ogg", "pipe:1"], _MOST_VOICE)
    if not made:
        raise FfmpegFailed("no sound")
    return made


def levels(samples: Sequence[int]) -> list[int] | None:
    """LEVELS peaks of 16-bit samples, the loudest being 100; None when there are too few to show anything."""
    if len(samples) < LEVELS:
        return None
    step = len(samples) / LEVELS
    parts = [samples[int(n * step) : max(int((n + 1) * step), int(n * step) + 1)] for n in range(LEVELS)]
    peaks = [max(max(part), -min(part)) for part in parts]
    loudest = max(peaks)
    return [round(100 * peak / loudest) for peak in peaks] if loudest else [0] * LEVELS


def _even(data: bytes) -> bytes:
    return data[: len(data) // 2 * 2]


def _input(path: Path, mime: str) -> list[str]:
    if mime not in _DEMUXERS:
        raise FfmpegFailed("no demuxer")
    return ["-v", "error", "-protocol_whitelist", "file,pipe", "-f", _DEMUXERS[mime], "-i", str(path)]


@functools.cache
def _limits() -> list[str]:
    """util-linux's prlimit, where there is one: a fork of ours that runs Python first could hang on another's lock."""
    found = shutil.which("prlimit")
    return [found, f"--as={_MEMORY}", f"--cpu={_SECONDS}", "--core=0", "--fsize=0", "--"] if found else []


def _run(program: str, args: list[str], most: int = _MOST_OUTPUT) -> bytes:
    common = ["-hide_banner", "-nostdin", "-threads", "1"] if program == "ffmpeg" else ["-hide_banner"]
    try:
        done = subprocess.run(  # noqa: S603
            [*_limits(), program, *common, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise FfmpegFailed(type(error).__name__) from None
    if len(done.stdout) > most:
        raise FfmpegFailed("too much output")
    return done.stdout
