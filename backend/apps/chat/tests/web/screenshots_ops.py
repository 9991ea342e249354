"""Pictures of the operations page: `python -m apps.chat.tests.web.screenshots_ops <folder>`, run in backend/."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")
django.setup()

from playwright.async_api import Browser  # noqa: E402

from apps.chat.tests.web.browser import chromium  # noqa: E402
from apps.chat.tests.web.scenery_ops import trouble  # noqa: E402
from apps.chat.tests.web.stub import serving  # noqa: E402
from apps.chat.tests.web.stub_ops import OpsStub  # noqa: E402


class Shot(NamedTuple):
    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    troubled: bool


SHOTS = [
    Shot("ops-desktop-light", 1280, 1100, "light", troubled=True),
    Shot("ops-phone-dark", 390, 844, "dark", troubled=False),
]


async def shoot(browser: Browser, folder: Path, shot: Shot) -> None:
    stub = OpsStub()
    if shot.troubled:
        trouble(stub)
    async with serving(stub) as url:
        page = await browser.new_page(
            viewport={"width": shot.width, "height": shot.height},
            color_scheme=shot.scheme,
            locale="pt-BR",
            timezone_id="America/Sao_Paulo",
        )
        await page.goto(f"{url}/ops/")
        await page.wait_for_selector(".queues")
        await page.wait_for_timeout(300)
        await page.screenshot(path=folder / f"{shot.name}.png")
        await page.close()


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        for shot in SHOTS:
            await shoot(browser, folder, shot)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
