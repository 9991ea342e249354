"""Files by content: one per tenant and content, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from testing.ports import spare_port

from apps.chat.media import store
from apps.chat.media.errors import MediaRefused, StorageAway

pytestmark = pytest.mark.any_database
TENANT = uuid.UUID(int=7)


def everything(root: str) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A real S3 server, moto's, in this process."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", spare_port())
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> str:
    """Both storages we ship settings for."""
    if request.param == "s3":
        use_s3(settings, request.getfixturevalue("s3_url"), tmp_path)
    return str(request.param)


def use_s3(settings: Any, url: str, tmp_path: Path) -> None:
    import boto3

    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="files")
    options = {"bucket_name": "files", "endpoint_url": url, "region_name": "us-east-1"}
    options |= {
        "access_key": "key",
        "secret_key": "secret",
        "addressing_style": "path",
        "file_overwrite": True,
    }
    backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": backend}
    settings.CHAT_MEDIA_PARTIAL_DIR = str(tmp_path / "partial")


def test_a_file_is_kept_under_its_content(storage: str) -> None:
    data = os.urandom(3 << 20)
    kept = store.keep(TENANT, [data[: 1 << 20], data[1 << 20 :]], 4 << 20)
    sha256 = hashlib.sha256(data).hexdigest()
    assert kept == store.Kept(sha256, len(data), f"media/{TENANT}/{sha256[:2]}/{sha256}")
    with store.open_kept(kept.name) as file:
        assert file.read() == data
    with store.open_range(kept.name, 1000, 1500) as file:
        assert file.read(500) == data[1000:1500]
    assert store.size_of(kept.name) == len(data)


def test_the_same_content_is_kept_once_per_tenant(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.keep(TENANT, [b"same"], 10)
    monkeypatch.setattr(store.Incoming, "_place", lambda *_: pytest.fail("kept twice"))
    assert store.keep(TENANT, [b"sa", b"me"], 10) == first
    monkeypatch.undo()
    other = store.keep(uuid.UUID(int=8), [b"same"], 10)
    assert other.sha256 == first.sha256 and other.name != first.name


def test_a_file_that_is_too_large_or_empty_leaves_nothing(storage: str, tmp_path: Path) -> None:
    with pytest.raises(MediaRefused, match="media_too_big"):
        store.keep(TENANT, [b"12345", b"6"], 5)
    with pytest.raises(MediaRefused, match="media_empty"):
        store.keep(TENANT, [b""], 5)
    assert everything(str(tmp_path)) == []


def test_what_is_not_there_is_not_an_error_of_ours(storage: str) -> None:
    name = store.name_of(TENANT, "0" * 64)
    with pytest.raises(StorageAway):
        store.size_of(name)
    with pytest.raises(StorageAway):
        store.open_range(name, 0, 1).read()


def test_a_half_written_file_is_never_seen_under_its_name(tmp_path: Path) -> None:
    with store.Incoming(TENANT, 100) as file:
        file.write(b"half")
        file.complete()
        assert [name.split("/")[2] for name in everything(str(tmp_path))] == [".partial"]
    assert everything(str(tmp_path)) == []


def test_a_broken_upload_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageAway):
        store.keep(TENANT, [b"x"], 10)
    assert everything(str(tmp_path)) == []


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    fresh = store.Incoming(TENANT, 100)
    old = store.Incoming(TENANT, 100)
    os.utime(old.path, (1, 1))
    assert store.remove_left_over() == 1
    assert fresh.path.exists() and not old.path.exists()
    fresh.discard()


def test_two_threads_that_keep_the_same_file_agree(storage: str) -> None:
    found: list[store.Kept] = []
    data = os.urandom(200_000)
    threads = [
        threading.Thread(target=lambda: found.append(store.keep(TENANT, [data], 1 << 20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    with default_storage.open(found[0].name) as file:
        assert file.read() == data
