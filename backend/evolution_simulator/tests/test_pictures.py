"""Profile pictures: a real PNG for whoever has the address, another for another person."""

from __future__ import annotations

from io import BytesIO

import httpx
from PIL import Image

from evolution_simulator.pictures import SIZE, draw, url_of

from .support import RunningSimulator


def test_everybody_has_a_face_of_their_own() -> None:
    first, second = draw("5511990000001"), draw("5511990000002")
    assert first != second and first == draw("5511990000001")
    with Image.open(BytesIO(first)) as image:
        image.load()
        assert image.size == (SIZE, SIZE)


def test_an_address_needs_no_key(running: RunningSimulator) -> None:
    answer = httpx.get(url_of(running.url, "120363@g.us"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == draw("120363@g.us")
    assert httpx.get(f"{running.url}/pictures/view").status_code == 404
