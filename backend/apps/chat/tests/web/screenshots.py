"""Makes the pictures of the README: `python -m apps.chat.tests.web.screenshots <folder>`, run in backend/."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")
django.setup()

from playwright.async_api import Browser  # noqa: E402

from apps.chat.tests.web.browser import chromium  # noqa: E402
from apps.chat.tests.web.scenery import dress  # noqa: E402
from apps.chat.tests.web.stub import Stub, serving  # noqa: E402

DESKTOP, PHONE = (1280, 800), (390, 844)
SHOTS = [
    ("inbox-desktop-light", DESKTOP, "light", True),
    ("inbox-desktop-dark", DESKTOP, "dark", True),
    ("inbox-phone-light", PHONE, "light", False),
    ("inbox-phone-dark", PHONE, "dark", True),
]


async def shoot(
    browser: Browser, url: str, folder: Path, shot: tuple[str, tuple[int, int], str, bool], path: str
) -> None:
    name, (width, height), scheme, _ = shot
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        locale="pt-BR",
        timezone_id="America/Sao_Paulo",
    )
    page = await context.new_page()
    page.on("console", lambda message: print(name, message.text, file=sys.stderr))
    page.on("pageerror", lambda error: print(name, error, file=sys.stderr))
    await page.goto(url + path)
    if name.startswith("inbox"):
        await page.wait_for_selector(".message" if "/c/" in path else ".row-name")
    await page.wait_for_timeout(300)
    await page.screenshot(path=folder / f"{name}.png")
    await context.close()


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stub = Stub()
    opened = dress(stub)
    async with serving(stub) as url, chromium() as browser:
        for shot in SHOTS:
            await shoot(browser, url, folder, shot, f"/#/c/{opened['id']}" if shot[3] else "/")
        await shoot(browser, url, folder, ("login", (1280, 800), "light", False), "/login/")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
