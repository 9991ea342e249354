"""Small pictures of files that strangers made."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from apps.chat.media import ffmpeg, sniff, thumbs
from apps.chat.media.errors import MediaRefused
from apps.chat.tests.media.world import OGG, jpeg, png, png_bomb

pytestmark = pytest.mark.any_database
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def look(tmp_path: Path, data: bytes) -> thumbs.Look:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = sniff.sniff(data[: sniff.HEAD])
    assert found is not None
    return thumbs.look(path, found)


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data))


def test_a_large_picture_gets_a_small_one(tmp_path: Path) -> None:
    seen = look(tmp_path, jpeg(3000, 1500))
    assert (seen.width, seen.height) == (3000, 1500)
    small = opened(seen.thumbnail)
    assert small.format == "JPEG" and small.size == (480, 240)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_every_kind_of_png_gets_a_small_picture(tmp_path: Path, mode: str) -> None:
    small = opened(look(tmp_path, png(30, 20, mode)).thumbnail)
    assert small.mode == "RGB" and small.size == (30, 20)


def test_a_photo_that_lies_on_its_side_stands_up(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = look(tmp_path, jpeg(60, 40, exif=exif))
    assert (seen.width, seen.height) == (40, 60)
    assert opened(seen.thumbnail).size == (40, 60)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(MediaRefused, match="media_too_many_pixels"):
        look(tmp_path, png_bomb())


def test_a_picture_whose_data_is_a_bomb_costs_no_more_than_its_header_says(tmp_path: Path) -> None:
    look(tmp_path, png_bomb(100, 100))


def test_a_picture_too_costly_for_a_small_one_is_kept_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbs, "MOST_WHOLE_PIXELS", 100)
    seen = look(tmp_path, png(40, 30))
    assert (seen.width, seen.thumbnail) == (40, None)


@pytest.mark.parametrize(
    "data", [jpeg(900, 900)[:3000], png(900, 900)[:200], png()[:20], b"GIF89a" + bytes(9)]
)
def test_a_truncated_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(MediaRefused, match="media_damaged"):
        look(tmp_path, data)


def test_a_damaged_sound_is_kept_without_a_length(tmp_path: Path) -> None:
    assert look(tmp_path, OGG) == thumbs.Look()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A directory for ffmpeg; without it: a skip on a laptop, a failure in CI."""
    if not ffmpeg.available():
        (pytest.fail if IN_CI else pytest.skip)("ffmpeg is not installed (Debian: apt-get install ffmpeg).")
    return tmp_path


def make(path: Path, *args: str) -> bytes:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *args, str(path)], check=True)
    return path.read_bytes()


def test_a_film_shows_its_first_frame(made: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc=d=1:s=640x360"]
    seen = look(made, make(made / "a.mp4", *source, "-pix_fmt", "yuv420p"))
    assert (seen.width, seen.height) == (640, 360)
    assert seen.duration_ms == pytest.approx(1000, abs=100)
    assert opened(seen.thumbnail).size == (480, 270)


def test_a_sound_has_a_length_and_a_shape(made: Path) -> None:
    quiet_then_loud = "sine=d=2,volume='if(lt(t,1),0.1,1)':eval=frame"
    seen = look(made, make(made / "a.ogg", "-f", "lavfi", "-i", quiet_then_loud, "-c:a", "libopus"))
    assert seen.duration_ms == pytest.approx(2000, abs=100)
    assert seen.waveform is not None and len(seen.waveform) == ffmpeg.LEVELS
    assert max(seen.waveform[:28]) < 30 and min(seen.waveform[36:]) > 70


def test_ffmpeg_opens_nothing_but_the_file(made: Path) -> None:
    """A playlist that names another file, dressed up as a film."""
    secret = made / "secret.ts"
    secret.write_bytes(b"x" * 1000)
    path = made / "list.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n")
    with pytest.raises(ffmpeg.FfmpegFailed):
        ffmpeg.facts(path, "video/mp4")


def test_without_ffmpeg_films_are_kept_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "available", lambda: False)
    assert look(tmp_path, OGG) == thumbs.Look()


def test_levels_of_silence_and_of_too_little() -> None:
    assert ffmpeg.levels([0] * 1000) == [0] * ffmpeg.LEVELS
    assert ffmpeg.levels([1] * 10) is None
