"""The file in a JSON answer, read in pieces."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chat.evolution.base64_answer import AnswerUnreadable, Base64Answer, decode_text

pytestmark = pytest.mark.any_database


def read(raw: bytes, *cuts: int) -> tuple[bytes, object]:
    answer, found, at = Base64Answer(), b"", 0
    for cut in [*sorted(cuts), len(raw)]:
        found += answer.feed(raw[at:cut])
        at = max(at, cut)
    return found, answer.finish()


@given(
    st.binary(max_size=300), st.lists(st.integers(0, 900), max_size=12), st.booleans(), st.text(max_size=20)
)
def test_any_file_survives_any_cutting(data: bytes, cuts: list[int], escaped: bool, caption: str) -> None:
    body = {
        "caption": f'{caption} "base64": "no',
        "size": {"base64": "inner", "fileLength": {"low": 3}},
        "list": ["base64", ":"],
        "base64": base64.b64encode(data).decode(),
        "buffer": None,
    }
    text = json.dumps(body, ensure_ascii=False).replace("/", "\\/" if escaped else "/")
    found, rest = read(text.encode("utf-8", "surrogatepass"), *cuts)
    assert found == data
    assert rest == {**body, "base64": ""}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"buffer":null}',
        b'{"base64":null}',
        b'{"data":{"base64":"aGk="}}',
        b'{"base64":"aGk="',
        b'{"base64":"aGkt',
        b'{"base64":"aGktbG8',
        b'{"base64":"a"}',
        b'{"base64":"aG=="k="}',
        b'{"base64":"aGk=aGk="}',
        b'{"base64":"a b c d "}',
        b'{"base64":"aG\\u006b="}',
        b'{"base64":"aGk="} trailing',
        b'{"x":"' + b"y" * 2_000_000 + b'"}',
    ],
)
def test_what_is_no_such_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        read(raw)


def test_a_text_at_hand_is_decoded_in_pieces() -> None:
    data = bytes(range(256)) * 50
    pieces = list(decode_text(base64.b64encode(data).decode(), 1000))
    assert b"".join(pieces) == data and max(map(len, pieces)) <= 753


@pytest.mark.parametrize("text", ["é" * 8, "aGk", "aGk=aGk=", "a\u0000aa"])
def test_a_text_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(AnswerUnreadable):
        list(decode_text(text))
