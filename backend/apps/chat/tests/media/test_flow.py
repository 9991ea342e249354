"""From the customer's phone to the agent's page, through the real parts; and a worker's memory under load."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from testing.rabbitmq import RabbitServer
from testing.waiting import eventually

from apps.chat.models import MessageAttachment
from apps.chat.tests.flow import world
from apps.chat.tests.flow.world import World
from apps.chat.tests.media.load import Load
from apps.chat.tests.media.workers import Peak, ProcessWorker, all_ended, statuses
from apps.chat.tests.media.world import PDF, SVG, jpeg

pytestmark = pytest.mark.slow
PHONE = "5511990000077"


@pytest.fixture
def place(child_env: Mapping[str, str], tmp_path: Path) -> Iterator[World]:
    with world.build({**child_env, "MEDIA_ROOT": str(tmp_path / "storage")}) as made:
        yield made


def say(place: World, data: bytes, **more: Any) -> None:
    body = {"instance": "flow", "base64": base64.b64encode(data).decode(), **more}
    place.simulator.control("POST", f"customers/{PHONE}/say", body)


def files(place: World) -> list[dict[str, Any]]:
    """The attachments of all messages of the only conversation, oldest first."""
    found = place.http.get("/api/chat/conversations/").json()["results"]
    if not found:
        return []
    page = place.http.get(f"/api/chat/conversations/{found[0]['id']}/messages/").json()["results"]
    shown = sorted(page, key=lambda row: (row["sort_at"], row["id"]))
    return [file for row in shown for file in row["attachments"]]


@pytest.mark.parametrize("broker", ["rabbitmq", "database"])
def test_a_customers_files_reach_the_agent(
    place: World, tmp_path: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    url = ""
    if broker == "rabbitmq":
        server: RabbitServer = request.getfixturevalue("rabbitmq_server")
        if not server.running:
            server.start(60)
        url = server.url
    picture = jpeg(1200, 800)
    env = {**place.env, "RABBITMQ_URL": url}
    place.web.env = {**(place.web.env or {}), "RABBITMQ_URL": url}
    place.web.restart()
    with ProcessWorker(tmp_path, env):
        say(place, picture, kind="image", caption="a vitrine")
        say(place, PDF, kind="document", file_name="../nota fiscal.pdf", mimetype="application/pdf")
        say(place, SVG, kind="image")
        eventually(
            lambda: sorted(file["status"] for file in files(place)) == ["completed", "completed", "skipped"],
            30,
            "all files to end",
        )
    by_kind = {(file["kind"], file["status"]): file for file in files(place)}
    image, document = by_kind["image", "completed"], by_kind["document", "completed"]
    assert by_kind["image", "skipped"]["reason"] == "media_type_refused"
    assert (image["width"], image["height"]) == (1200, 800)
    assert document["file_name"] == "nota fiscal.pdf"
    anyone = httpx.Client(base_url=place.web.url)
    assert anyone.get(image["url"]).content == picture
    assert anyone.get(image["thumbnail_url"]).headers["content-type"] == "image/jpeg"
    part = anyone.get(document["url"], headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, PDF[:8])
    assert part.headers["content-disposition"].startswith("attachment")
    assert anyone.get(f"/api/chat/attachments/{image['id']}/content/").status_code == 401


def test_a_workers_memory_does_not_grow_with_the_files(
    child_env: Mapping[str, str], tmp_path: Path, transactional_db: None
) -> None:
    """The short form of scripts/measure_media.py."""
    with Load(random.Random(7), 22, 60_000_000) as load:
        rows = load.rows()
        biggest = max(row.size or 0 for row in rows)
        env = {**child_env, "MEDIA_ROOT": str(tmp_path / "storage"), "CHAT_MEDIA_SWEEP_SECONDS": "0.1"}
        with ProcessWorker(tmp_path, env, concurrency=4) as worker:
            peak = Peak(worker.pid)
            all_ended(100)
            most = peak.stop()
    assert statuses() == {"completed": 22}
    assert biggest == 60_000_000
    assert 50 < most < 300
    same = MessageAttachment.objects.values_list("file", flat=True)
    assert len(set(same)) < len(same)
