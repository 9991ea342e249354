import json
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.chat.evolution.events import strip_credentials
from apps.chat.evolution.retry_after import seconds_to_wait
from apps.chat.evolution.wire import bytes_of, long_of, seconds_of

from .conftest import CAPTURES, load_capture


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1795291445, 1795291445),
        ("1795291100123", 1795291100123),
        (" -5 ", -5),
        (3.0, 3),
        ({"low": 1234, "high": 0, "unsigned": True}, 1234),
        ({"low": -5329605, "high": 417, "unsigned": False}, 417 * 2**32 + 2**32 - 5329605),
        ({"low": -1, "high": -1, "unsigned": False}, -1),
        (True, None),
        (None, None),
        ("1e9", None),
        ("", None),
        ("٣", None),
        (float("nan"), None),
        (float("inf"), None),
        ({"low": 1}, None),
        ({"low": "1", "high": 0}, None),
        ({"low": 10**30, "high": 0}, None),
        ([1], None),
    ],
    ids=repr,
)
def test_longs(value: object, number: int | None) -> None:
    assert long_of(value) == number


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1795291445, 1795291445),
        (1795291445999, 1795291445),
        ("1795291445", 1795291445),
        (0, None),
        (-1, None),
        (10**30, None),
    ],
)
def test_seconds(value: object, seconds: int | None) -> None:
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"0": 106, "1": 112, "2": 103}, b"jpg"),
        ([106, 112, 103], b"jpg"),
        ({"type": "Buffer", "data": [106, 112, 103]}, b"jpg"),
        ("anBn", b"jpg"),
        ({}, b""),
        ({"0": 256}, None),
        ({"0": 1, "2": 1}, None),
        ({"0": "x"}, None),
        ("not base64!", None),
        (5, None),
    ],
    ids=repr,
)
def test_bytes(value: object, data: bytes | None) -> None:
    assert bytes_of(value) == data


@pytest.mark.parametrize("name", sorted(path.stem for path in (CAPTURES / "webhooks").glob("*.json")))
def test_no_credential_of_a_capture_survives(name: str) -> None:
    kept = strip_credentials(load_capture("webhooks", name)["body"])
    said = json.dumps(kept)
    assert "lab-wa-token" not in said
    assert "lab-evo-token" not in said
    assert "lab-global-key" not in said
    assert "http://127.0.0.1" not in said
    assert kept["event"]


def test_credentials_go_at_any_depth_and_in_any_spelling() -> None:
    body: dict[str, Any] = {
        "apikey": 1,
        "data": [{"Authorization": "Bearer x", "keep": 1, "headers": {"jwt_key": "x", "API-Key": "x"}}],
        "server_url": "x",
        "destination": "x",
    }
    assert strip_credentials(body) == {"data": [{"keep": 1, "headers": {}}]}


def test_customers_words_stay() -> None:
    data = {"message": {"conversation": "my token is: apikey"}}
    assert strip_credentials({"data": data}) == {"data": data}


def test_it_is_storable_as_json_anywhere() -> None:
    kept = strip_credentials({"a\x00": "b\x00", "c": "\ud800", "d": float("nan"), "e": [float("inf")]})
    assert kept == {"a\ufffd": "b\ufffd", "c": "\ufffd", "d": None, "e": [None]}
    json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()


def test_depth_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert strip_credentials({"data": deep})
    assert strip_credentials("x") == {"body": "x"}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-1", None),
        ("soon", None),
        ("99999999999999", None),
        ("Sat, 21 Nov 2026 20:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 19:00:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(header, datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)) == seconds
