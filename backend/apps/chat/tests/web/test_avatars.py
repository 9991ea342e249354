"""Faces in the list: the picture where there is one, the initials where there is none or it does not come."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from apps.chat.tests.web.conftest import Inbox
from apps.chat.tests.web.stub import uuid7
from apps.chat.tests.web.stub_files import picture

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


def contact(name: str, picture_url: str | None) -> dict[str, str | None]:
    return {"id": str(uuid7()), "name": name, "phone": "5511990000001", "picture_url": picture_url}


async def test_a_picture_covers_the_initials_and_uncovers_them_when_it_fails(inbox: Inbox) -> None:
    for name, url in (("Ana Souza", "/face.png"), ("Bia Lima", "/gone.png"), ("Caio Reis", None)):
        inbox.stub.conversation(name, contact=contact(name, url))
    page = await inbox.open("/login/")
    await page.route("**/face.png", lambda route: route.fulfill(body=picture(), content_type="image/jpeg"))
    await page.route("**/gone.png", lambda route: route.fulfill(status=503))
    await page.goto(inbox.url)
    row = {name: page.locator("a.row", has_text=name) for name in ("Ana Souza", "Bia Lima", "Caio Reis")}
    await expect(row["Ana Souza"].locator(".avatar img")).to_be_visible()
    box = await row["Ana Souza"].locator(".avatar img").bounding_box()
    assert box is not None and box["width"] == box["height"] > 30
    await expect(row["Bia Lima"].locator(".avatar img")).to_be_hidden()
    await expect(row["Bia Lima"].locator(".avatar")).to_contain_text("BL")
    await expect(row["Caio Reis"].locator(".avatar img")).to_have_count(0)
    await expect(row["Caio Reis"].locator(".avatar")).to_contain_text("CR")
