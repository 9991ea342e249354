"""The two ways a request reaches Django: on a lasting thread, or directly in the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from alrea_sense.handlers import FORM_BYTES, DirectHandler, ThreadedHandler

pytestmark = pytest.mark.any_database


def where(request: HttpRequest) -> HttpResponse:
    return HttpResponse(threading.current_thread().name + " " + request.body.decode())


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a defect")


def streams(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"one ", b"two"]))


async def direct(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(threading.current_thread().name)


async def direct_breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a defect")


urlpatterns = [
    path("where", where),
    path("breaks", breaks),
    path("streams", streams),
    path("direct", direct),
    path("direct-breaks", direct_breaks),
]


async def ask(handler: Any, url: str, body: bytes = b"", *, gone: bool = False) -> tuple[int, str]:
    """(status, text) of one request; `gone`: the client left before its body was whole."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": url,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"text/plain")],
    }
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"} if gone else {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        said.append(dict(message))

    await handler(scope, receive, send)
    if not said:
        return 0, ""
    return said[0]["status"], b"".join(part.get("body", b"") for part in said[1:]).decode()


@pytest.fixture(autouse=True)
def _routes() -> Any:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], DEBUG=False, LOGGING_CONFIG=None):
        yield


async def test_a_view_runs_on_a_lasting_thread_with_its_body() -> None:
    handler = ThreadedHandler()
    status, text = await ask(handler, "/where", b"hello")
    assert status == 200
    assert text.startswith("http_")
    assert text.endswith("hello")


async def test_requests_run_beside_each_other() -> None:
    handler = ThreadedHandler()
    answers = await asyncio.gather(*(ask(handler, "/where", str(n).encode()) for n in range(20)))
    assert sorted(int(text.split()[1]) for _, text in answers) == list(range(20))


async def test_a_stream_is_whole() -> None:
    assert await ask(ThreadedHandler(), "/streams") == (200, "one two")


@pytest.mark.parametrize(("kind", "url"), [(ThreadedHandler, "/breaks"), (DirectHandler, "/direct-breaks")])
async def test_a_defect_is_a_500_and_the_handler_lives(kind: Any, url: str) -> None:
    handler = kind()
    for _ in range(2):
        status, text = await ask(handler, url)
        assert status == 500
        assert "defect" not in text


@pytest.mark.parametrize("kind", [ThreadedHandler, DirectHandler])
async def test_an_unknown_path_is_a_404_and_a_client_that_left_gets_nothing(kind: Any) -> None:
    assert (await ask(kind(), "/nowhere"))[0] == 404
    assert await ask(kind(), "/where", gone=True) == (0, "")


async def test_a_coroutine_view_stays_in_the_event_loop() -> None:
    status, text = await ask(DirectHandler(), "/direct")
    assert (status, text) == (200, threading.current_thread().name)


async def test_a_body_beyond_the_largest_file_is_refused_before_it_is_whole(settings: Any) -> None:
    settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES = 10
    handler = ThreadedHandler()
    status, text = await ask(handler, "/where", bytes(FORM_BYTES + 11))
    assert (status, "too_large" in text) == (413, True)
    assert (await ask(handler, "/where", bytes(FORM_BYTES + 10)))[0] == 200
