"""The stand-in for Evolution and the load's small HTTP."""

from __future__ import annotations

import json

import pytest

from bench.load import Request, length_of
from bench.provider import Answers, Arrivals, respond, steady_rate, take_request


def test_a_request_is_taken_once_it_is_whole() -> None:
    wire = Request("POST", "/message/sendText/bench", {}, {"number": "5511", "text": "a"}).wire("here")
    buffer = bytearray(wire[:-1])
    assert take_request(buffer) is None
    buffer += wire[-1:] + wire
    for _ in range(2):
        taken = take_request(buffer)
        assert taken is not None
        assert taken[0] == b"POST /message/sendText/bench HTTP/1.1"
        assert json.loads(taken[1]) == {"number": "5511", "text": "a"}
    assert not buffer


def test_every_send_gets_an_id_of_its_own() -> None:
    answers = Answers(0.0)
    ids = {answers._accept({"number": "5511", "text": "a"})["key"]["id"] for _ in range(100)}
    assert len(ids) == 100


def test_a_text_that_came_twice_is_told() -> None:
    arrivals = Arrivals(["a", "b", "a"], [1.0, 2.0, 3.0])
    assert arrivals.report(full=False)["doubled"] == 1


def test_the_steady_rate_leaves_out_start_and_tail() -> None:
    steady = [n / 100 for n in range(1000)]
    steady[-1] += 60
    assert steady_rate(steady) == pytest.approx(100)
    assert steady_rate([1.0]) == 0.0


def test_the_length_of_an_answer_is_read_whatever_its_case() -> None:
    assert length_of(respond(200, {})[:-2]) == 2
    assert length_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n") is None
