"""A page of Chromium on the stub server. One browser serves a module; every test has a fresh profile and stub."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

from apps.chat.tests.web.browser import CHROMIUM, chromium
from apps.chat.tests.web.stub import Stub, serving

DEADLINE_MS = 8_000


class Inbox:
    """The page under test, the server behind it, and everything the browser complained about."""

    def __init__(self, browser: Browser, stub: Stub, url: str) -> None:
        self.browser, self.stub, self.url = browser, stub, url
        self.complaints: list[str] = []
        self.expected = ["Failed to load resource", "WebSocket connection"]  # what a test breaks on purpose
        self.contexts: list[BrowserContext] = []

    async def open(self, path: str = "/", **context: Any) -> Page:
        """A page of a fresh profile."""
        options = {
            "viewport": {"width": 1280, "height": 800},
            "locale": "pt-BR",
            "timezone_id": "America/Sao_Paulo",
        }
        made = await self.browser.new_context(**(options | context))
        self.contexts.append(made)
        made.set_default_timeout(DEADLINE_MS)
        page = await made.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(self.url + path)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(part in message.text for part in self.expected):
            self.complaints.append(message.text)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        assert not os.environ.get("CI"), "CI must have Chromium"
        pytest.skip("Chromium is not installed")
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def inbox(browser: Browser) -> AsyncIterator[Inbox]:
    stub = Stub()
    async with serving(stub) as url:
        opened = Inbox(browser, stub, url)
        yield opened
        for context in opened.contexts:
            await context.close()
    assert opened.complaints == []
